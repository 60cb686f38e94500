"""A program that was opened gives what its parts hand on, in each type and batch, and refuses names that it has not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("executorch", reason="executorch is not installed")

from slide_export.backends import executorch as backend
from slide_export.backends.executorch.opened import opened
from slide_export.backends.executorch.session import Session
from slide_export.backends.interface import LoweringOptions
from slide_export.core.artifact import Artifact, ModelIO
from slide_export.core.errors import BundleError
from slide_export.core.model import Model
from slide_export.core.precision import FP16
from slide_export.inference.served import ServedModel, serve
from tests.conftest import randomise
from tests.exporter.backends.executorch.values import errors

ERROR = 4e-3  # of the largest value: float16
IMAGES = np.random.default_rng(0).standard_normal((3, 3, 64, 64), dtype=np.float32)


class Toy(nn.Module):
    """Two norms, which XNNPACK leaves outside, and a layer behind each."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.fc1, self.norm2, self.fc2 = (
            nn.LayerNorm(64),
            nn.Linear(64, 16),
            nn.LayerNorm(16),
            nn.Linear(16, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.norm2(self.fc1(self.norm1(x)))).mean(dim=(1, 2))


@pytest.fixture(scope="module")
def half(model: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, ServedModel]:
    torch.manual_seed(0)
    source = serve(replace(model, module=randomise(Toy()).eval()), ModelIO())
    return backend.lower(source, tmp_path_factory.mktemp("toy"), LoweringOptions(FP16, source.io)), source


@pytest.mark.parametrize("count", [1, 3])
def test_values_of_float16_are_given_for_every_batch(half: tuple[Artifact, ServedModel], count: int) -> None:
    found = errors(*half, IMAGES[:count])
    assert {"norm1", "norm2", "fc1"} <= found.keys()
    assert {module: error for module, error in found.items() if not error < ERROR} == {}


def test_the_saved_program_is_left_as_it_is(half: tuple[Artifact, ServedModel]) -> None:
    artifact, _ = half
    before = artifact.path.read_bytes()
    (name,) = (one.name for one in backend.values(artifact.path, artifact.settings) if "norm1" in (one.output_of or ()))
    twice = Session(artifact.path, {**artifact.settings, "outputs": ["a", "b"]}, opened(artifact.path, [name, name]))
    first, second = twice.run({"images": IMAGES}).values()
    np.testing.assert_array_equal(first, second)
    assert artifact.path.read_bytes() == before


@pytest.mark.parametrize("name", ["9999.0", "0.99", "-1.0", "0.-1", "0", "0.0.0", "norm1"])
def test_a_value_that_it_has_not_is_refused(half: tuple[Artifact, ServedModel], name: str) -> None:
    with pytest.raises(BundleError, match=rf"expected an ExecuTorch program that hands on {name}, model\.pte is none"):
        opened(half[0].path, [name])


def test_a_file_that_is_no_program_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.pte"
    file.write_bytes(b"no program")
    with pytest.raises(BundleError, match="expected an ExecuTorch program that hands on"):
        opened(file, ["0.0"])
