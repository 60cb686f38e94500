"""Weights are compressed layer by layer, as the recipe says, and evaluate to nearly the same."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

if importlib.util.find_spec("coremltools") is None:
    pytest.skip("coremltools is not installed", allow_module_level=True)

from slide_export.calibration.recipe import QuantizationRecipe, default  # after the skip
from slide_export.mil import Evaluator, MilError, Package
from slide_export.mil.convert import Form, save

FORM = Form(("x",), (3, 8, 8), (1,), False, ("y",), (), "fp32", "iOS16")
W8 = default("coreml", "w8")


class Net(nn.Module):
    """A convolution, a depthwise one and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.shift = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.wide, self.head = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.relu(self.wide(self.shift(self.stem(x)).mean(dim=(2, 3)))))


class Served(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.module = Net()

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.module(x),)


def packed(recipe: QuantizationRecipe, place: Path) -> tuple[list[str], float]:
    """The modules with compressed weights, and the signal to noise of the package's output."""
    served, path = Served().eval(), place / "model.mlpackage"
    modules = save(served, path, FORM, {}, recipe)
    package = Package.read(path)
    unpacked = {out.name for op in package.operations() if op.type.startswith("constexpr_") for out in op.outputs}
    users = [
        modules[op.name]
        for op in package.operations()
        for _, values in op.bindings()
        for value in values
        if getattr(value, "name", None) in unpacked
    ]
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    expected = served(x)[0].detach().numpy()
    found = Evaluator(package, "float32").run({"x": x.numpy()})["y"]
    return sorted(users), float(10 * np.log10(np.square(expected).sum() / np.square(found - expected).sum()))


def test_linear_and_convolution_weights_are_compressed(tmp_path: Path) -> None:
    modules, sqnr_db = packed(W8, tmp_path)
    assert modules == ["head", "stem", "wide"]
    assert sqnr_db > 35


def test_kept_modules_and_asked_depthwise_ones(tmp_path: Path) -> None:
    recipe = replace(W8, keep_fp32=("head",), quantize=("linear", "convolution", "depthwise"))
    assert packed(recipe, tmp_path)[0] == ["shift", "stem", "wide"]


def test_palettized_weights_lose_more_the_fewer_bits(tmp_path: Path) -> None:
    found = {}
    for bits in (6, 4):
        (tmp_path / str(bits)).mkdir()
        modules, found[bits] = packed(replace(W8, weights="palettized", weight_bits=bits), tmp_path / str(bits))
        assert modules == ["head", "stem", "wide"]
    assert found[6] > found[4] + 6 > 10


def test_nothing_left_to_compress_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MilError, match="keeps every layer in float"):
        packed(replace(W8, keep_fp32=("*",)), tmp_path)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for turn in ("a", "b"):
        (tmp_path / turn).mkdir()
        packed(W8, tmp_path / turn)
        written.append({f.name: f.read_bytes() for f in (tmp_path / turn).rglob("*") if f.is_file()})
    assert written[0] == written[1]


class Normalised(nn.Module):
    """Embedded preprocessing, a product and a sum of each channel, before a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.module = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        scale, shift = (
            torch.tensor([1.5, 2.0, 2.5]).reshape(1, 3, 1, 1),
            torch.tensor([0.25, -1, 3]).reshape(1, 3, 1, 1),
        )
        return (self.module(x * scale + shift),)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_product_and_a_sum_of_each_channel_stay_what_they_are(precision: str, tmp_path: Path) -> None:
    save(Normalised().eval(), tmp_path / "model.mlpackage", replace(FORM, precision=precision), {}, W8)
    kinds = [operation.type for operation in Package.read(tmp_path / "model.mlpackage").operations()]
    assert "batch_norm" not in kinds
    assert "mul" in kinds
    assert any(kind.startswith("constexpr_") for kind in kinds)
