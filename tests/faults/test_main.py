"""The driver: a figure a suite, cases kept, a crash or a hang is its case's own."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.faults import __main__ as driver
from tests.faults.outcome import Outcome

MODULE = "tests.faults.test_main"
NAME = "sample"  # a suite by itself


def run(seed: int, index: int, room: Path) -> Outcome:
    if index == 1:
        raise ValueError("not this")
    if index == 2:
        os._exit(7)
    return Outcome("refused" if index % 2 else "fine")


def test_a_figure_counts_verdicts_and_what_was_run_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(driver, "KEPT", tmp_path)
    assert not driver.figure("sample", MODULE, 5, 5)
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "sample: 5 cases, seed 5: 2 fine, 1 traceback, 1 crash, 1 refused"
    assert told[1].startswith("  traceback 1: ValueError: not this in test_main.py:")
    assert told[2] == "  crash 2: its process ended with 7"
    monkeypatch.setattr(driver, "Worker", lambda *_: SimpleNamespace(close=lambda: None))  # nothing is run again
    assert not driver.figure("sample", MODULE, 5, 5)
    assert capsys.readouterr().out.splitlines() == told


def test_suites_are_the_modules_that_run_cases() -> None:
    assert {"kills", "errors"} <= driver.suites().keys()
    assert "sample" not in driver.suites()
    with pytest.raises(SystemExit):
        driver.main(["absent"])
