"""An artifact that crashes its runtime, or that its runtime refuses, is the outcome of its bundle alone."""

import sys
from pathlib import Path

import onnx
import pytest

from slide_export.bundle.store import Bundle
from slide_export.core.errors import CrashError
from slide_export.verification import apart
from slide_export.verification import bundle as verification
from slide_export.verification.apart import Runners
from slide_export.verification.batch import VerifyOptions, prove_each
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


def test_a_crash_is_an_outcome_and_the_next_bundle_is_proved(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "COMMAND", (sys.executable, "-c", CRASHES_FIRST, str(tmp_path / "mark")))
    with Runners() as runners:
        crashed, proved = prove_each([exported / "small"] * 2, VerifyOptions(opening=runners.opened))
    assert (crashed.exit_code, crashed.kind, crashed.verdict) == (1, "CrashError", "runtime crashed")
    assert "the runtime crashed (signal 11)" in crashed.message
    assert proved.passed


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
