"""A worker that crashes, hangs, refuses or lacks its runtime ends in one sentence of the right class."""

import json
import sys

import pytest

from slide_export.benchmark import process
from slide_export.benchmark.process import Process, Worker
from slide_export.core import errors
from slide_export.core.errors import BackendUnavailable, BundleError, DeviceError, MeasurementError, TimeLimitError


def start(monkeypatch: pytest.MonkeyPatch, script: str, timeout_s: float = 60.0) -> Worker:
    """Worker that runs a Python script."""
    monkeypatch.setattr(process, "COMMAND", (sys.executable, "-c", script))
    return Worker("tiny (onnx fp32)", {"target": "onnx"}, 1, timeout_s)


def test_answers_come_in_order_and_the_job_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import sys\nfor line in sys.stdin: print('{\"heard\": ' + line.strip() + '}', flush=True)"
    with start(monkeypatch, script) as worker:
        assert worker.answer() == {"heard": {"target": "onnx"}}
        assert worker.call(3, 1) == {"heard": {"calls": 3, "untimed": 1}}


def test_threads_reach_libraries_without_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import os, json; print(json.dumps({'threads': os.environ['OMP_NUM_THREADS']}))"
    with start(monkeypatch, script) as worker:
        assert worker.answer() == {"threads": "1"}


def test_a_crash_is_told_with_its_signal_and_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import os, sys; print('first', file=sys.stderr); print('fatal words', file=sys.stderr); os.abort()"
    with start(monkeypatch, script) as worker, pytest.raises(MeasurementError, match=r"crashed \(signal 6\)") as crash:
        worker.answer()
    assert str(crash.value).startswith("expected tiny (onnx fp32) to run")
    assert crash.value.exit_code == 70
    assert "first" not in str(crash.value)


def test_a_crash_between_two_questions_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with start(monkeypatch, "print('{}', flush=True); raise SystemExit(7)") as worker:
        assert worker.answer() == {}
        with pytest.raises(MeasurementError, match=r"exit code 7\): nothing said"):
            worker.call(1)


def test_a_shells_code_of_a_signal_is_told_as_that_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        start(monkeypatch, "raise SystemExit(128 + 9)") as worker,
        pytest.raises(MeasurementError, match=r"\(signal 9\)"),
    ):
        worker.answer()


def test_what_a_shell_says_before_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with start(monkeypatch, "print('welcome to the device'); print('{\"a\": 1}', flush=True)") as worker:
        assert worker.answer() == {"a": 1}


def test_what_explains_an_end_is_asked_first() -> None:
    def explain(code: int, message: str) -> errors.SlideExportError:
        return DeviceError(f"expected it, found {code} and {message}")

    script = "import sys; sys.exit('gone')"
    with (
        Process("it", (sys.executable, "-c", script), 1, 60.0, explain) as process,
        pytest.raises(DeviceError, match="found 1 and gone"),
    ):
        process.answer()


def test_a_hang_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    with start(monkeypatch, "import time; time.sleep(60)", timeout_s=0.2) as worker:
        with pytest.raises(TimeLimitError, match=r"within 0.2 s, found none: it was stopped"):
            worker.answer()
        pid = worker._process.pid
    assert worker._process.returncode is not None, pid


@pytest.mark.parametrize("kind", [BackendUnavailable, BundleError])
def test_a_refusal_keeps_its_class_and_exit_code(
    monkeypatch: pytest.MonkeyPatch, kind: type[errors.SlideExportError]
) -> None:
    line = json.dumps({"error": "expected it, found none", "kind": kind.__name__})
    with start(monkeypatch, f"print({line!r})") as worker, pytest.raises(kind, match="expected it, found none"):
        worker.answer()


def test_a_runtime_that_is_not_installed_is_unavailable() -> None:
    job = {"target": "onnx", "path": "absent", "settings": {}, "feeds": "absent.npz", "batch": 1, "affinity": []}
    with Worker("tiny", job, 1, 60) as worker, pytest.raises(MeasurementError, match="absent"):
        worker.answer()
