"""A stage's warnings stay as lines, its progress is the status; the log is as it was afterwards."""

import io
import logging
from typing import Any

import pytest
from rich.console import Console

from slide_export.cli.views.log import LogLines


class Status:
    def __init__(self) -> None:
        self.said: list[str] = []

    def update(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.parametrize(
    ("level", "line"), [(logging.DEBUG, None), (logging.INFO, False), (logging.WARNING, True), (logging.ERROR, True)]
)
def test_a_warning_is_a_line_and_less_is_the_status(level: int, line: bool | None) -> None:
    stream, status = io.StringIO(), Status()
    lines = LogLines(Console(file=stream, width=80), status)  # type: ignore[arg-type]
    log = logging.getLogger("slide_export.a.module")
    lines.attach()
    try:
        log.log(level, "it [bold]is[/] %s", "so\x1b[2J")
    finally:
        lines.detach()
    printed = stream.getvalue()
    assert bool(printed) == bool(line)
    assert bool(status.said) == (line is False)
    assert "\x1b[2J" not in printed
    assert "[bold]" in printed or not line  # markup of others is text


def test_what_went_wrong_is_told_below() -> None:
    stream = io.StringIO()
    status: Any = Status()
    lines = LogLines(Console(file=stream, width=80), status)
    lines.attach()
    try:
        try:
            raise ValueError("deep")
        except ValueError:
            logging.getLogger("slide_export").exception("failed")
    finally:
        lines.detach()
    assert "ValueError: deep" in stream.getvalue()


def test_the_level_of_before_is_back() -> None:
    log = logging.getLogger("slide_export")
    before = (log.level, list(log.handlers))
    status: Any = Status()
    lines = LogLines(Console(file=io.StringIO()), status)
    lines.attach()
    assert log.level == logging.INFO
    lines.detach()
    assert (log.level, list(log.handlers)) == before
