"""The MLP with a convolution against its plainest form, and its fused form."""

import pytest
import torch
from torch.nn import functional

from slide_export.models.conv_mlp import ConvMlp, pointwise
from tests.conftest import randomise

ROUNDING = 1e-12  # float64


@pytest.mark.parametrize("relu", [False, True])
def test_both_forms_are_two_linears_around_a_convolution(relu: bool) -> None:
    mlp, x = randomise(ConvMlp(4, 12, relu=relu)).double(), torch.randn(2, 5, 3, 4).double()
    hidden = x @ mlp.fc1.weight.T + mlp.fc1.bias
    hidden = hidden.clamp(min=0) if relu else hidden
    padded = functional.pad(hidden, (0, 0, 1, 1, 1, 1))
    kernel = mlp.dwconv.dwconv.weight[:, 0]  # [hidden, 3, 3]
    taps = (padded[:, i : i + 5, j : j + 3] * kernel[:, i, j] for i in range(3) for j in range(3))
    hidden = sum(taps) + mlp.dwconv.dwconv.bias
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    expected = hidden @ mlp.fc2.weight.T + mlp.fc2.bias
    assert (mlp(x) - expected).abs().max() < ROUNDING
    assert (mlp.fuse()(x) - expected).abs().max() < ROUNDING


def test_fused_form_shares_its_weights_and_is_another_class() -> None:
    mlp = ConvMlp(4, 8)
    fused = mlp.reparameterize()
    assert fused.fc1.weight.data_ptr() == mlp.fc1.weight.data_ptr()
    assert type(fused) is not type(mlp)
    assert not hasattr(fused, "fuse")


def test_pointwise_is_the_linear_layer() -> None:
    layer, x = torch.nn.Linear(3, 5).double(), torch.randn(2, 3, 4, 6).double()
    assert (pointwise(layer)(x).permute(0, 2, 3, 1) - layer(x.permute(0, 2, 3, 1))).abs().max() < ROUNDING
