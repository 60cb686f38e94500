"""A folded convolution against convolution and BatchNorm in float64."""

import pytest
import torch
from torch import nn

from slide_export.models.batch_norm import NormedConvolution, fold


def norm(dim: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(dim)
    with torch.no_grad():
        for value in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
            value.copy_(torch.rand(dim) + 0.5)
    return layer.eval()


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(4, 8, 7, padding=3, groups=2),
        nn.Conv2d(4, 8, 7, padding=3, padding_mode="replicate"),
    ],
    ids=["stride", "groups", "replicate"],
)
def test_folding_changes_nothing(conv: nn.Conv2d) -> None:
    conv, bn, x = conv.double(), norm(8).double(), torch.randn(2, 4, 9, 11, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(fold(conv, bn)(x), bn(conv(x)), rtol=1e-13, atol=1e-14)  # float64 rounds at 1e-16


def test_a_normed_convolution_applies_its_norm_and_does_not_own_it() -> None:
    bn = norm(8)
    conv, x = NormedConvolution(4, 8, 3, bn, stride=2), torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        assert torch.allclose(conv(x), conv.fuse()(x), atol=1e-5)  # one rounding of the weights
        assert torch.equal(conv(x), bn(nn.functional.conv2d(x, conv.weight, stride=2, padding=1)))
    assert list(conv.state_dict()) == ["weight"]


def test_a_norm_without_statistics_is_refused() -> None:
    with pytest.raises(TypeError, match="running statistics"):
        fold(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, track_running_stats=False))
