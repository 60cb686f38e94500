"""Each target in its own process: its crash, hang or absence stays its own."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from slide_export.backends import registry
from slide_export.backends.interface import Availability
from slide_export.cli import main as cli
from slide_export.core import hidden
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import CRASHED, OUT_OF_TIME, BundleError, MeasurementError
from slide_export.core.request import AccuracyGoal, ExportRequest
from slide_export.workflows import all_targets
from slide_export.workflows.all_targets import TargetResult, for_target, worst

ROOT = Path(__file__).parents[3]
JOBS = "tests.exporter.workflows.jobs"
HALF = "tests.exporter.workflows.half_written"


def test_a_target_is_exported_and_an_unsound_request_is_its_own(checkpoint: Path, tmp_path: Path) -> None:
    done, refused = all_targets.export_all(
        ExportRequest(checkpoint, out=tmp_path, image_count=2), ("onnx", "onnx"), 300, jobs=1
    )
    assert (done.exit_code, done.message) == (0, "")
    assert done.bundle is not None
    assert done.bundle.manifest.parity.passed
    assert refused.exit_code == 2  # the same place twice
    assert "add overwrite or another out" in refused.message
    assert refused.error is not None
    assert "add --overwrite or another --out" in refused.error.on_command_line
    assert worst((done, refused)) == 2


def test_a_crash_and_a_hang_are_their_own(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_targets, "HERE", JOBS)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ended = all_targets.export_all(ExportRequest(checkpoint, out=tmp_path), ("onnx", "openvino", "coreml"), 2.0, 3)
    crashed, hung, absent = ended
    assert (crashed.exit_code, crashed.message) == (CRASHED, "its process crashed (signal 11): fatal words")
    assert hung.exit_code == OUT_OF_TIME
    assert hung.message.startswith("expected an end within 2 s")
    assert (absent.exit_code, absent.message) == (3, "not here")


def test_one_target_within_a_time_is_that_target_or_its_own_error(checkpoint: Path, tmp_path: Path) -> None:
    asked = ExportRequest(checkpoint, "onnx", out=tmp_path, image_count=2)
    assert all_targets.export_within(asked, 300, jobs=1).manifest.parity.passed
    with pytest.raises(BundleError, match="add overwrite or another out"):
        all_targets.export_within(asked, 300, jobs=1)


def test_one_target_that_hangs_or_crashes_within_a_time_leaves_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(all_targets, "HERE", HALF)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    out = tmp_path / "out"
    assert cli.run([str(checkpoint), "--target", "onnx", "--out", str(out), "--timeout", "2", "--json"]) == OUT_OF_TIME
    assert json.loads(capfd.readouterr().out)["kind"] == "TimeLimitError"
    assert list(out.iterdir()) == []
    monkeypatch.setattr(all_targets, "HERE", JOBS)
    with pytest.raises(MeasurementError, match="its process crashed"):
        all_targets.export_within(ExportRequest(checkpoint, "onnx", out=out), 30, jobs=1)


def test_no_time_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    assert cli.run([str(checkpoint), "--out", str(tmp_path), "--timeout", "0"]) == 2


def test_a_request_crosses_whole(tmp_path: Path) -> None:
    goal = AccuracyGoal(tmp_path, max_drop=2.0)
    asked = ExportRequest(
        tmp_path / "c.pt", "onnx", images=tmp_path, input_size=(64, 96), accuracy=goal, keep_fp32=("head",),
        interface=ModelIO(2, labels=("a", "b")), options={"a": "b"},
        preprocessing={"mean": "0,0,0"},
    )  # fmt: skip
    assert all_targets.parsed(json.loads(json.dumps(all_targets.plain(asked)))) == asked


def test_every_target_is_proved_from_one_preparation(checkpoint: Path, tmp_path: Path) -> None:
    ended = all_targets.export_all(ExportRequest(checkpoint, out=tmp_path, image_count=2), ("onnx", "openvino"), 300)
    assert [one.message for one in ended] == ["", ""]
    assert {one.bundle.manifest.parity.passed for one in ended if one.bundle} == {True}


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((0, 3), 3),
        ((2, 1, 0), 1),
        ((70, 3, 2), 70),
        ((74, 2), 2),
        ((3, 75, 74), 74),
        ((0, 3, 75), 75),
        ((), 0),
        ((0, 0), 0),
    ],
)
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


def without(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a target look as if its package were not installed."""
    told = registry.availability

    def availability(target: str) -> Availability:
        """What is installed, but for one target."""
        found = told(target)
        return replace(found, missing=("a-package",)) if target == missing else found

    monkeypatch.setattr(registry, "availability", availability)


def test_what_nobody_named_and_is_not_installed_is_a_row_and_no_failure(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "names", lambda: ("coreml", "onnx"))
    without("coreml", monkeypatch)
    assert cli.run([str(checkpoint), "--target", "all", "--out", str(tmp_path), "--image-count", "2"]) == 0
    shown = capfd.readouterr()
    assert shown.err.rstrip().splitlines()[-1].startswith("coreml: not installed: pip install")
    assert shown.out.split() == [str(tmp_path / "small-onnx-fp32")]


def test_a_named_target_that_is_not_installed_is_a_failure(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("coreml", monkeypatch)
    (absent,) = all_targets.export_all(ExportRequest(checkpoint, out=tmp_path), ("coreml",), 300)
    assert absent.exit_code == 3
    assert "found it not installed" in absent.message


def test_nothing_installed_is_refused(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "names", lambda: ("coreml",))
    without("coreml", monkeypatch)
    assert cli.run([str(checkpoint), "--target", "all", "--out", str(tmp_path)]) == 3
    assert "expected a target that is installed, found none: pip install" in capfd.readouterr().err


COMMAND = (
    "import sys; from slide_export.workflows import all_targets; from slide_export.backends import registry\n"
    f"all_targets.HERE = {HALF!r}; registry.names = lambda: ('onnx', 'coreml')\n"
    "from slide_export.cli.main import main; main([sys.argv[1], '--target', 'all', '--out', sys.argv[2]])"
)


def test_a_target_whose_time_is_over_leaves_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_targets, "HERE", HALF)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (late,) = all_targets.export_all(ExportRequest(checkpoint, out=tmp_path / "out"), ("onnx",), 3.0)
    assert late.exit_code == OUT_OF_TIME
    assert len(list(tmp_path.glob("*.pid"))) == 1  # it had begun to write
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_ends_the_parent_ends_its_jobs(number: signal.Signals, checkpoint: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(checkpoint), str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )
    while len(jobs := list(tmp_path.glob("*.pid"))) < 2 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{job.stem}").exists() for job in jobs) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [job.stem for job in jobs if Path(f"/proc/{job.stem}").exists()]
    assert process.returncode == (143 if number == signal.SIGTERM else -number)
    if number == signal.SIGKILL:  # the next run does
        hidden.sweep(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_dynamic_batch_is_the_smallest_of_a_target_that_takes_none() -> None:
    asked = ExportRequest(Path("any.pth"), options={"delegate": "none", "spinning": "off"})
    fixed, dynamic = for_target(asked, "litert"), for_target(asked, "onnx")
    assert (fixed.interface.batch, dynamic.interface.batch) == (1, None)
    assert (dict(fixed.options), dict(dynamic.options)) == ({"delegate": "none"}, {"spinning": "off"})
    two = replace(asked, interface=ModelIO(batch=2))
    assert for_target(two, "litert").interface.batch == 2


def test_a_checkpoint_that_was_prepared_for_any_batch_is_finished_for_one(checkpoint: Path) -> None:
    from slide_export.workflows.prepare import prepare
    from slide_export.workflows.resolve import resolve

    prepared = prepare(resolve(ExportRequest(checkpoint, image_count=1)).source)
    fixed = prepared.at_batch(1)
    assert (fixed.served.io.batch, fixed.request.io.batch) == (1, 1)
    assert fixed.truth is prepared.truth
    assert prepared.at_batch(None) is prepared
    assert fixed.at_batch(3) is fixed  # one that is fixed stays: a model may need it
