"""Text that others wrote is shown as it is written."""

import io

import pytest
from rich.console import Console

from slide_export.cli.views.literal import literal


@pytest.mark.parametrize("text", ["[/]", "[red]", "a\\", "[a\\]", "plain"])
def test_markup_is_text(text: str) -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(f"[bold]{literal(text)}[/]")
    assert console.file.getvalue() == f"{text}\n"  # type: ignore[attr-defined]


def test_what_a_terminal_obeys_is_written_out_and_what_is_long_is_cut() -> None:
    assert literal("\x1b[2J\n") == "\\x1b[2J\\n"
    assert len(literal("x" * 1000, 100)) == 100
