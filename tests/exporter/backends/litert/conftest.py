"""The digits' LiteRT bundle, made by the converter once and kept: the fast tests need the runtime alone."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")

KEPT = Path(__file__).parent / "digits-litert-fp32"


@pytest.fixture(scope="session")
def digits_bundle() -> Path:
    """`slide-export digits.pth --target litert --batch 1 --images heldout --image-count 64`, with labels."""
    return KEPT


@pytest.fixture
def copied(digits_bundle: Path, tmp_path: Path) -> Path:
    """A copy that a test may alter."""
    return Path(shutil.copytree(digits_bundle, tmp_path / "copied"))
