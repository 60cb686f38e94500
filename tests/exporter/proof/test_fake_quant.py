"""The simulated quantization against one worked out by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from slide_export.calibration.recipe import default
from slide_export.proof.fake_quant import _rounding, kind_of, simulated

WEIGHTS_ALONE = default("onnx", "w8").resolved()
INT8 = replace(default("onnx", "int8"), reduce_range="off")


class Served(nn.Module):
    """A module where `Serving` has it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.module(images)


def linear(rows: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight = nn.Parameter(torch.tensor(rows))
    return layer


def test_weights_are_on_a_grid_of_their_own_channel() -> None:
    served = Served(nn.Sequential(linear([[127.0, 0.4], [1.27, 0.004]])))
    found = simulated(served, WEIGHTS_ALONE, [])(torch.eye(2))
    assert torch.allclose(found, torch.tensor([[127.0, 1.27], [0.0, 0.0]]), atol=1e-6)


def test_one_scale_for_a_whole_tensor_loses_the_small_channel() -> None:
    served = Served(nn.Sequential(linear([[127.0, 0.6], [0.4, 0.4]])))
    found = simulated(served, replace(WEIGHTS_ALONE, per_channel=False), [])(torch.eye(2))
    assert torch.allclose(found, torch.tensor([[127.0, 0.0], [1.0, 0.0]]), atol=1e-6)


def test_a_reduced_range_has_half_the_steps() -> None:
    served = Served(nn.Sequential(linear([[63.0, 0.6]])))
    found = simulated(served, replace(WEIGHTS_ALONE, reduce_range="on"), [])(torch.eye(2))
    assert torch.allclose(found, torch.tensor([[63.0], [1.0]]), atol=1e-6)


@pytest.mark.parametrize(
    ("activations", "expected"),
    [("asymmetric", [155.0, -100.0, 0.0, 3.0]), ("symmetric", [155.0, -100.08, 0.0, 3.66])],
)
def test_activations_are_on_the_grid_of_their_range(activations: str, expected: list[float]) -> None:
    served = Served(nn.Sequential(linear([[1.0]])))
    images = torch.tensor([[155.0], [-100.0], [0.3], [3.2]])
    found = simulated(served, replace(INT8, activations=activations), [(images,)])(images)
    assert torch.allclose(found[:, 0], torch.tensor(expected), atol=6e-3)


def test_values_beyond_the_observed_range_are_clipped() -> None:
    served = Served(nn.Sequential(linear([[1.0]])))
    copied = simulated(served, INT8, [(torch.tensor([[255.0]]),)])
    assert copied(torch.tensor([[300.0], [-9.0]])).flatten().tolist() == [255.0, 0.0]
    assert served(torch.tensor([[300.0]])).item() == 300.0  # the original is untouched


def test_symmetric_values_have_one_level_more_below_zero() -> None:
    served = Served(nn.Sequential(linear([[1.0]])))
    found = simulated(served, replace(INT8, activations="symmetric"), [(torch.tensor([[127.0], [-100.0]]),)])
    assert found(torch.tensor([[300.0], [-300.0]])).flatten().tolist() == [127.0, -128.0]


def test_zero_is_within_the_range_of_what_is_negative_alone() -> None:
    served = Served(nn.Sequential(linear([[1.0]])))
    observed = simulated(served, INT8, [(torch.tensor([[-255.0]]),)])
    assert observed(torch.tensor([[-300.0], [-0.4], [9.0]])).flatten().tolist() == [-255.0, 0.0, 0.0]
    own = simulated(served, replace(INT8, activations="dynamic"), [])
    assert own(torch.tensor([[-255.0], [-0.4]])).flatten().tolist() == [-255.0, 0.0]


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (-0.001, 100.0), (-50.0, 1.0), (0.0, 2.0)])
def test_a_range_around_zero_has_255_steps_of_its_own(low: float, high: float) -> None:
    """Every value of the range is at most half a step off, and zero is a level."""
    values = torch.linspace(low, high, 1001)
    (found,) = _rounding(low, high, symmetric=False)(nn.Identity(), (values,))
    step = (high - low) / 255
    assert (found - values).abs().max() <= step * 1.001  # a zero between two levels moves both ends by half a step
    assert len(found.unique()) in (255, 256)
    (zero,) = _rounding(low, high, symmetric=False)(nn.Identity(), (torch.zeros(1),))
    assert zero.item() == 0


def test_a_range_of_no_width_and_a_channel_of_zeros_pass_as_they_are() -> None:
    served = Served(nn.Sequential(linear([[0.0, 0.0], [1.0, 1.0]])))
    found = simulated(served, INT8, [(torch.zeros(1, 2),)])(torch.tensor([[3.3, 0.0]]))
    assert found[0].tolist() == pytest.approx([0.0, 3.3])


def test_kept_modules_and_kinds_stay_exact() -> None:
    module = nn.Sequential(linear([[127.0, 0.4]]), nn.Conv2d(4, 8, 1), nn.Conv2d(4, 8, 1, groups=4))
    assert [kind_of(layer) for layer in module] == ["linear", "convolution", "depthwise"]
    copied = simulated(Served(module[:1]), replace(WEIGHTS_ALONE, keep_fp32=("module.0",)), [])
    assert torch.equal(copied.module[0].weight, module[0].weight)


def test_dynamic_activations_are_on_the_grid_of_their_own_range() -> None:
    served = Served(nn.Sequential(linear([[1.0]])))
    recipe = replace(INT8, activations="dynamic")
    rounded = simulated(served, recipe, [])  # observes nothing
    assert rounded(torch.tensor([[255.0], [0.4]])).flatten().tolist() == [255.0, 0.0]
    assert rounded(torch.tensor([[2.55], [0.4]])).flatten().tolist() == pytest.approx([2.55, 0.4], abs=1e-6)
