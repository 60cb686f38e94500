"""A network that crashes ncnn is refused by name: it ran in a process of its own."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ncnn", reason="ncnn is not installed")

from slide_export.backends.ncnn import network, probe
from slide_export.backends.ncnn.network import Layer
from slide_export.core.errors import LoweringError

LAYERS = (
    Layer("Input", "x", (), ("x",)),
    Layer("ReLU", "first", ("x",), ("a",)),
    Layer("ReLU", "second", ("a",), ("b",)),
)
CALLED = (LAYERS[0], Layer("ReLU", "act1/ReLU", ("x",), ("a",)), Layer("ReLU", "act2/ReLU", ("a",), ("b",)))
IMAGES = {"x": np.zeros((3, 4, 4), np.float32)}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.param"
    path.write_text(network.render(LAYERS))
    path.with_suffix(".bin").write_bytes(b"")
    return path


def crashing(directory: Path, after: str) -> tuple[str, str]:
    """A program that prints something and then crashes, as a runtime does."""
    script = directory / "crash.py"
    script.write_text(f"import os, signal; print({after!r}, flush=True); os.kill(os.getpid(), signal.SIGSEGV)")
    return (sys.executable, str(script))


def test_a_network_that_runs_passes(saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    probe.main(saved, *job(saved.parent))
    assert capfd.readouterr().out.split() == ["0", "1"]
    probe.refuse_crash(saved, IMAGES, LAYERS, CALLED)


def job(directory: Path) -> tuple[Path, Path]:
    inputs, asked = directory / "inputs.npz", directory / "job.json"
    np.savez(inputs, **IMAGES)  # type: ignore[arg-type]
    asked.write_text('{"options": {"use_fp16_packed": false}, "blobs": ["a", "b"]}')
    return inputs, asked


@pytest.mark.parametrize(
    ("after", "said"), [("0\n1", "in the ReLU of act2 as pnnx wrote it"), ("", "while it loads the network")]
)
def test_a_crash_is_told_with_its_layer(after: str, said: str, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PROGRAM", crashing(saved.parent, after))
    with pytest.raises(LoweringError, match=rf"it crashes \(SIGSEGV\) {said}"):
        probe.refuse_crash(saved, IMAGES, LAYERS, CALLED)
