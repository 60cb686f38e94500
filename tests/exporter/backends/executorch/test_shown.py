"""What goes from part to part of a program is called after the modules that give it, and after no others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("executorch", reason="executorch is not installed")

from slide_export.backends import executorch as backend
from slide_export.backends.interface import LoweringOptions
from slide_export.core.artifact import Artifact, ModelIO
from slide_export.core.errors import RequestError
from slide_export.core.model import Model
from slide_export.core.precision import FP32
from slide_export.inference.served import ServedModel, serve
from tests.conftest import randomise
from tests.exporter.backends.executorch.values import errors

ERROR = 5e-6  # of the largest value: float32
SIDE = 64
IMAGES = np.random.default_rng(0).standard_normal((1, 3, SIDE, SIDE), dtype=np.float32)


class Block(nn.Module):
    """Two branches: the sum in the middle goes from part to part, and is the output of nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.fc1, self.norm2, self.fc2 = (
            nn.LayerNorm(16),
            nn.Linear(16, 16),
            nn.LayerNorm(16),
            nn.Linear(16, 16),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.fc1(self.norm1(x))
        return x + self.fc2(self.norm2(x))


class Toy(nn.Module):
    """Patches, two blocks, a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.blocks = nn.Linear(192, 16), nn.Sequential(Block(), Block())

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.patch(x.reshape(-1, 64, 192))).mean(dim=1)


@pytest.fixture(scope="module")
def toy(model: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, ServedModel]:
    torch.manual_seed(0)
    source = serve(replace(model, module=randomise(Toy()).eval()), ModelIO(batch=1))
    return backend.lower(source, tmp_path_factory.mktemp("toy"), LoweringOptions(FP32, source.io)), source


def test_each_value_is_what_its_module_gives(toy: tuple[Artifact, ServedModel]) -> None:
    found = errors(*toy, IMAGES)
    norms = {f"blocks.{block}.norm{norm}" for block in (0, 1) for norm in (1, 2)}
    assert {"patch", "blocks.0", *norms} <= found.keys()
    assert {module: error for module, error in found.items() if not error < ERROR} == {}


def test_a_program_that_notes_no_values_is_not_diagnosed(toy: tuple[Artifact, ServedModel]) -> None:
    artifact, _ = toy
    with pytest.raises(RequestError, match=r"diagnose is not available for model\.pte"):
        backend.values(Path(artifact.path), {**artifact.settings, "shown": {}})
