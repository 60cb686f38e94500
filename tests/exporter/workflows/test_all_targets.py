"""Each target in its own process: its crash, hang or absence stays its own."""

import subprocess
from pathlib import Path

import pytest

from slide_export.cli import main as cli
from slide_export.core.request import ExportRequest
from slide_export.workflows import all_targets as every_target
from slide_export.workflows.all_targets import TargetResult, run_each, worst


def worker(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Puts a shell script in the worker's place."""
    real = subprocess.run
    monkeypatch.setattr(
        every_target.subprocess, "run", lambda _command, **options: real(["bash", "-c", script], **options)
    )


def test_a_target_is_exported_and_an_unsound_request_is_its_own(checkpoint: Path, tmp_path: Path) -> None:
    done, refused = run_each(ExportRequest(checkpoint, out=tmp_path, image_count=2), ("onnx", "onnx"), 300, jobs=1)
    assert (done.exit_code, done.message) == (0, "")
    assert done.bundle is not None
    assert done.bundle.manifest.parity.passed
    assert refused.exit_code == 2  # the same place twice
    assert "--overwrite" in refused.message
    assert worst((done, refused)) == 2


def test_a_crash_is_reported_with_its_signal(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker(monkeypatch, "echo fatal words >&2; kill -SEGV $$")
    (result,) = run_each(ExportRequest(checkpoint, out=tmp_path), ("onnx",), 60)
    assert result.exit_code == every_target.CRASHED
    assert result.message == "its process crashed (signal 11): fatal words"


def test_a_hang_is_stopped(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker(monkeypatch, "exec sleep 60")
    (result,) = run_each(ExportRequest(checkpoint, out=tmp_path), ("onnx",), 0.3)
    assert result.message.startswith("expected an end within 0.3 s")
    assert result.seconds < 30


@pytest.mark.parametrize(("codes", "expected"), [((0, 3), 3), ((2, 1, 0), 1), ((70, 3, 2), 70), ((), 0), ((0, 0), 0)])
def test_the_worst_exit_code_wins(codes: tuple[int, ...], expected: int) -> None:
    assert worst([TargetResult("t", code, "", 0.0, None) for code in codes]) == expected


def test_the_command_line_shows_a_row_a_target(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    worker(monkeypatch, "cat >/dev/null; echo '" + '{"exit_code": 3, "message": "not here", "path": null}' + "'")
    monkeypatch.chdir(tmp_path)
    assert cli.run([str(checkpoint), "--target", "all"]) == 3
    shown = capfd.readouterr().err
    assert "onnx: not here" in shown
    assert list(tmp_path.iterdir()) == []
