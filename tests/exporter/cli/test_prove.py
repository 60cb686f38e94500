"""What a proof is asked for is judged before it is made, and how it ended is the exit code."""

from pathlib import Path
from typing import Any

import pytest

from slide_export.cli import main as cli
from slide_export.diagnosis import Diagnosis, Row


def test_a_diagnosis_needs_the_checkpoint(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["diagnose", "bundle"]) == 2
    assert "expected --against CHECKPOINT" in capfd.readouterr().err


@pytest.mark.parametrize(("added_db", "code"), [(135.0, 0), (20.0, 1)])
def test_a_module_to_blame_is_exit_code_1(
    added_db: float, code: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = (Row("norm", 130.0, 131.0, added_db, 136.0, 0, multiple=8.0),)
    found = Diagnosis("a runtime", "fp32", "photos", 8, rows, ())
    monkeypatch.setattr(cli.api, "diagnose", lambda *_arguments, **_options: found)
    assert cli.run(["diagnose", "bundle", "--against", "a.pth", "--json"]) == code
    assert ('"culprit": "norm"' in capfd.readouterr().out) is bool(code)


@pytest.mark.parametrize("option", ["--junit", "--markdown"])
def test_a_file_that_cannot_be_written_is_refused_before_the_proof(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(cli.api, "verify_all", lambda *given, **_options: asked.append(given))
    (tmp_path / "report").touch()
    assert cli.run(["verify", "bundle", option, str(tmp_path / "report" / "file")]) == 2
    assert asked == []


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_processes_are_one_at_least(jobs: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["verify", "bundle", "--jobs", jobs]) == 2
    assert "--jobs" in capfd.readouterr().err
