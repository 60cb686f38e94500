"""The files that decide: whether an artifact is kept, what is exported, and what a figure is worth."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("exporter", "models", "calibration")

# The verdict on an artifact: no constant here may survive.
PROOF = (
    "exporter/proof/parity.py",
    "exporter/proof/gate.py",
    "exporter/proof/floor.py",
    "exporter/proof/soundness.py",
    "exporter/proof/precision.py",
    "exporter/proof/stored.py",
    "exporter/proof/permutation.py",
    "exporter/proof/first_loss.py",
    "exporter/proof/plain_load.py",
    "exporter/proof/accuracy.py",
    "exporter/proof/rounded.py",
    "exporter/proof/fake_quant.py",
    "exporter/proof/reference.py",
    "exporter/core/proof.py",
    "exporter/core/precision.py",
    "exporter/core/plain_load.py",
    "exporter/core/stored.py",
    "exporter/core/float_build.py",
    "exporter/core/preprocessing.py",
    "exporter/inference/fuse.py",
    "exporter/inference/choose.py",
    "exporter/inference/preprocess.py",
    "exporter/inference/served.py",
    "calibration/significance.py",
    "calibration/accuracy.py",
    "calibration/fitness.py",
    "calibration/parts.py",
    "calibration/tally.py",
    "exporter/benchmark/statistics.py",
)
# What leads to it: checkpoint, images, precisions, figures.
OTHERS = (
    "exporter/checkpoint/bounds.py",
    "exporter/checkpoint/values.py",
    "exporter/graph/stored.py",
    "exporter/graph/dtypes.py",
    "exporter/benchmark/recommend.py",
    "exporter/benchmark/plan.py",
    "calibration/audit.py",
    "calibration/picture_audit.py",
    "calibration/evaluation_set.py",
    "calibration/fp16.py",
    "calibration/fp16_reasons.py",
    "calibration/quantization.py",
    "calibration/recipe.py",
    "models/window_attention.py",
    "models/swin.py",
)
DECIDING = (*PROOF, *OTHERS)


# A room whose files are held by the tests of another one too.
HELD_ELSEWHERE = {"exporter/core": ("tests/exporter/proof",), "exporter/graph": ("tests/exporter/proof",)}


def mirror(source: str) -> Path:
    """The tests of a file: `exporter/proof/gate.py` -> `tests/exporter/proof/test_gate.py`."""
    path = Path(source)
    return ROOT / "tests" / path.parent / f"test_{path.name}"


def others(source: str) -> tuple[Path, ...]:
    """The other tests of its room, and of the rooms that hold it too."""
    own = mirror(source)
    rooms = (own.parent, *(ROOT / room for room in HELD_ELSEWHERE.get(str(Path(source).parent), ())))
    return tuple(file for room in rooms for file in sorted(room.glob("test_*.py")) if file != own)
