"""An artifact that crashes its runtime, or that its runtime refuses, is the outcome of its bundle alone."""

import sys
from pathlib import Path

import onnx
import pytest

from slide_export.bundle.store import Bundle
from slide_export.core.errors import OUT_OF_TIME, CrashError, RequestError
from slide_export.diagnosis import diagnose
from slide_export.verification import apart
from slide_export.verification import bundle as verification
from slide_export.verification.apart import Runners
from slide_export.verification.batch import VerifyOptions, prove_each
from slide_export.verification.place import TIMEOUT_S
from tests.bundles import restate

CRASHES_FIRST = """
import os, pathlib, signal, sys
mark = pathlib.Path(sys.argv[1])
if not mark.exists():
    mark.touch()
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGSEGV)
os.execv(sys.executable, [sys.executable, "-m", "slide_export.verification.runner"])
"""
HANGS_FIRST = CRASHES_FIRST.replace("os.kill(os.getpid(), signal.SIGSEGV)", "signal.pause()")


def test_a_crash_is_an_outcome_and_the_next_bundle_is_proved(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "COMMAND", (sys.executable, "-c", CRASHES_FIRST, str(tmp_path / "mark")))
    with Runners() as runners:
        crashed, proved = prove_each([exported / "small"] * 2, VerifyOptions(opening=runners.opened))
    assert (crashed.exit_code, crashed.kind, crashed.verdict) == (1, "CrashError", "runtime crashed")
    assert "the runtime crashed (signal 11)" in crashed.message
    assert proved.passed


def test_an_artifact_that_hangs_is_stopped_and_the_next_bundle_is_proved(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "COMMAND", (sys.executable, "-c", HANGS_FIRST, str(tmp_path / "mark")))
    with Runners(timeout_s=0.1) as runners:
        (hung,) = prove_each([exported / "small"], VerifyOptions(opening=runners.opened))
        runners._timeout_s = TIMEOUT_S  # the next process has the time that it needs
        (proved,) = prove_each([exported / "small"], VerifyOptions(opening=runners.opened))
    assert (hung.exit_code, hung.kind, hung.verdict) == (OUT_OF_TIME, "TimeLimitError", "no answer in time")
    assert "a longer timeout_s gives it more" in hung.message
    assert proved.passed


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_a_limit_that_no_clock_can_wait_for_is_refused(timeout_s: float) -> None:
    with pytest.raises(RequestError, match="expected a time limit above 0 seconds"):
        Runners(timeout_s)


def test_a_crash_while_an_artifact_is_looked_into_is_an_error_of_diagnose(
    onnx_bundle: Bundle, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "COMMAND", (sys.executable, "-c", "import os; input(); os.abort()"))
    with pytest.raises(CrashError, match=r"signal 6"):
        diagnose(onnx_bundle.path, checkpoint)


def test_a_crash_is_an_error_of_verify(onnx_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "COMMAND", (sys.executable, "-c", "import os; input(); os.abort()"))
    with pytest.raises(CrashError, match=r"signal 6"):
        verification.verify(onnx_bundle.path)


def test_what_a_runtime_refuses_or_answers_otherwise_is_one_sentence(exported: Path, tmp_path: Path) -> None:
    import shutil

    for name in ("damaged", "other"):
        shutil.copytree(exported / "small", tmp_path / name)
    (tmp_path / "damaged" / "model.onnx").write_bytes(b"\xff" * 100)
    proto = onnx.load(tmp_path / "other" / "model.onnx")
    proto.graph.output[0].name = "others"
    proto.graph.node[-1].output[0] = "others"
    onnx.save(proto, tmp_path / "other" / "model.onnx")
    restate(tmp_path / "damaged")
    restate(tmp_path / "other")
    with Runners() as runners:
        places = (tmp_path / "damaged", tmp_path / "other", exported / "small")
        damaged, other, sound = prove_each(places, VerifyOptions(opening=runners.opened))
    assert (damaged.exit_code, damaged.kind) == (2, "BundleError")
    assert damaged.message.isprintable()
    assert (other.exit_code, other.kind) == (1, "ParityError")
    assert "expected the output logits" in other.message
    assert "others" in other.message
    assert sound.passed
