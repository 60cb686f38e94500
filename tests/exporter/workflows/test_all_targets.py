"""Each target in its own process: its crash, hang or absence stays its own."""

import json
from pathlib import Path

import pytest

from slide_export.backends import registry
from slide_export.cli import main as cli
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import CRASHED
from slide_export.core.request import AccuracyGoal, ExportRequest
from slide_export.workflows import all_targets
from slide_export.workflows.all_targets import TargetResult, worst

ROOT = Path(__file__).parents[3]
JOBS = "tests.exporter.workflows.jobs"


def test_a_target_is_exported_and_an_unsound_request_is_its_own(checkpoint: Path, tmp_path: Path) -> None:
    done, refused = all_targets.export_all(
        ExportRequest(checkpoint, out=tmp_path, image_count=2), ("onnx", "onnx"), 300, jobs=1
    )
    assert (done.exit_code, done.message) == (0, "")
    assert done.bundle is not None
    assert done.bundle.manifest.parity.passed
    assert refused.exit_code == 2  # the same place twice
    assert "--overwrite" in refused.message
    assert worst((done, refused)) == 2


def test_a_crash_and_a_hang_are_their_own(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_targets, "HERE", JOBS)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ended = all_targets.export_all(ExportRequest(checkpoint, out=tmp_path), ("onnx", "openvino", "coreml"), 2.0, 3)
    crashed, hung, absent = ended
    assert (crashed.exit_code, crashed.message) == (CRASHED, "its process crashed (signal 11): fatal words")
    assert hung.exit_code == CRASHED
    assert hung.message.startswith("expected an end within 2 s")
    assert (absent.exit_code, absent.message) == (3, "not here")


def test_a_request_crosses_whole(tmp_path: Path) -> None:
    goal = AccuracyGoal(tmp_path, max_drop=2.0)
    asked = ExportRequest(
        tmp_path / "c.pt", "onnx", images=tmp_path, input_size=(64, 96), accuracy=goal, keep_fp32=("head",),
        interface=ModelIO(2, labels=("a", "b")), options={"a": "b"},
        preprocessing={"mean": "0,0,0"},
    )  # fmt: skip
    assert all_targets.parsed(json.loads(json.dumps(all_targets.plain(asked)))) == asked


def test_the_checkpoint_is_loaded_run_and_exported_once_for_all(checkpoint: Path, tmp_path: Path) -> None:
    """Three forms for four targets; each job writes what it called, and how often."""
    ended = all_targets.export_all(ExportRequest(checkpoint, out=tmp_path, image_count=2), ("onnx", "openvino"), 300)
    assert [one.message for one in ended] == ["", ""]
    assert {one.bundle.manifest.parity.passed for one in ended if one.bundle} == {True}


@pytest.mark.parametrize(("codes", "expected"), [((0, 3), 3), ((2, 1, 0), 1), ((70, 3, 2), 70), ((), 0), ((0, 0), 0)])
def test_the_worst_exit_code_wins(codes: tuple[int, ...], expected: int) -> None:
    assert worst([TargetResult("t", code, "", 0.0, None) for code in codes]) == expected


def test_the_command_line_shows_a_row_a_target(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(all_targets, "HERE", JOBS)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(registry, "names", lambda: ("coreml",))
    monkeypatch.chdir(tmp_path)
    assert cli.run([str(checkpoint), "--target", "all"]) == 3
    shown = capfd.readouterr().err
    assert "coreml: not here" in shown
    assert list(tmp_path.iterdir()) == []
