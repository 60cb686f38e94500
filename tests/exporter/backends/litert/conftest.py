"""The digits' LiteRT bundle, made by the converter once and kept: the fast tests need the runtime alone."""

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")

from slide_export import api  # after the skip

KEPT = Path(__file__).parent / "digits-litert-fp32"
CACHE = Path(__file__).parents[4] / "build" / "cache"


@pytest.fixture(scope="session")
def digits_bundle() -> Path:
    """`slide-export digits.pth --target litert --batch 1 --images heldout --image-count 64`, with labels."""
    return KEPT


@pytest.fixture
def copied(digits_bundle: Path, tmp_path: Path) -> Path:
    """A copy that a test may alter."""
    return Path(shutil.copytree(digits_bundle, tmp_path / "copied"))


@pytest.fixture(scope="module")
def converter() -> Iterator[Path]:
    """The cache with the converter's environment, installed by the first slow test that needs it: 1.1 GiB in build/."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, (CACHE / "lock").open("w") as lock:
        patch.setenv("XDG_CACHE_HOME", str(CACHE))
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process of the tests may be at it
        api.install_target("litert")
        fcntl.flock(lock, fcntl.LOCK_UN)
        yield CACHE
