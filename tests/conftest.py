"""What several tests share: one small trained-looking Slide-Swin and its checkpoint."""

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from slide_export import api
from slide_export.calibration import samples
from slide_export.calibration.image_cache import PictureStore
from slide_export.calibration.images import ImageSet
from slide_export.calibration.quantization import NumericFormat
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.artifact import ModelIO
from slide_export.core.model import Model
from slide_export.core.precision import precision_named
from slide_export.core.proof import Reference
from slide_export.inference.served import serve
from slide_export.models.swin import SwinConfig, SwinTransformer
from slide_export.proof.reference import truth, with_floor

from .shared_exports import own_export, shared_exports  # noqa: F401  # fixtures of every test
from .warm import warm  # noqa: F401  # likewise

CACHE = Path(__file__).parents[1] / "build" / "cache"
SMALL = SwinConfig(
    embed_dim=16,
    depths=(1, 2, 2, 1),
    heads=(1, 2, 4, 8),
    window=(7, 7),
    image_size=(64, 64),
    num_classes=10,
    slide_stages=2,
)


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter that training moves a value that training could have left: no zeros, no ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.named_parameters():
            if not name.endswith("dep_conv.weight"):
                value += 0.05 * torch.randn(value.shape, generator=generator)
    return module.eval()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # tests run side by side; OpenMP threads that wait for each other take 20 times as long


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor fill the user's cache: no environment of a target is made where no test makes one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def converter() -> Iterator[Path]:
    """The cache with the environment of LiteRT's converter: 1.1 GiB, installed by the first slow test that needs it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, (CACHE / "lock").open("w") as lock:
        patch.setenv("XDG_CACHE_HOME", str(CACHE))
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process of the tests may be at it
        api.install_target("litert")
        fcntl.flock(lock, fcntl.LOCK_UN)
        yield CACHE


@pytest.fixture(scope="session")
def small_config() -> SwinConfig:
    return SMALL


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "small.pth"
    torch.manual_seed(0)
    torch.save({"model": randomise(SwinTransformer(SMALL)).state_dict()}, path)
    return path


@pytest.fixture(scope="session")
def model(checkpoint: Path) -> Model:
    return load_checkpoint(checkpoint)


def reference_of(model: Model, images: ImageSet, io: ModelIO, precision: str = "fp32") -> Reference:
    """The trained model's own answers on images, with the noise floor of a float precision."""
    served = serve(model, io)
    store = PictureStore(model.data, model.image_size, served.task.sample)
    chosen, told = samples.of_set(images, served.task)
    store.take(told)
    found = truth(served, chosen.source, chosen.names(), store.stacked(chosen.files))
    return with_floor(served, found, NumericFormat(precision_named(precision)))
