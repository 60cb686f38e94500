"""Bounds of cosine attention: how strong a cosine may be, how high a bias, and the scale of distances."""

import math

import pytest
import torch
from torch import nn

from slide_export.models.cosine_attention import CosineAttention, offsets, weigh


@pytest.mark.parametrize(
    ("logarithm", "strength"), [(0.0, 1.0), (math.log(99.0), 99.0), (math.log(100.0), 100.0), (math.log(101.0), 100.0)]
)
def test_a_cosine_is_a_hundred_times_as_strong_at_most(logarithm: float, strength: float) -> None:
    attention = CosineAttention(4, 2, (2, 2))
    with torch.no_grad():
        attention.get_parameter("logit_scale").fill_(logarithm)
        assert torch.allclose(attention.strength(""), torch.full((2, 1, 1), strength), rtol=1e-6)


def test_a_bias_is_between_0_and_16() -> None:
    """SwinV2's 16 sigmoid(MLP(distance)): 8 where the MLP says 0."""
    attention = CosineAttention(4, 2, (2, 3))
    last = attention.get_submodule("cpb_mlp")[2]  # type: ignore[index]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        assert torch.equal(attention.bias(""), torch.full((2, 6, 6), 8.0))
        last.weight.fill_(1e6)
        assert attention.bias("").max() <= 16


def test_distances_are_on_a_logarithmic_scale() -> None:
    """sign(o) log2(1 + 8 |o|) / log2(8) of o = -1, 0, 1 for a side of 2, of halves between for a side of 3."""
    table = offsets((2, 3))
    edge, half = math.log2(9) / 3, math.log2(5) / 3
    assert table.shape == (1, 3, 5, 2)
    assert torch.allclose(table[0, :, 0, 0], torch.tensor([-edge, 0, edge]), rtol=1e-6)
    assert torch.allclose(table[0, 0, :, 1], torch.tensor([-edge, -half, 0, half, edge]), rtol=1e-6)


def test_a_window_of_one_row_has_no_distances_along_it() -> None:
    table = offsets((1, 2))
    assert table.shape == (1, 1, 3, 2)
    assert torch.equal(table[..., 0], torch.zeros(1, 1, 3))


def test_keys_have_no_bias() -> None:
    attention = CosineAttention(4, 2, (2, 2))
    with torch.no_grad():
        attention.get_parameter("q_bias").fill_(1)
        attention.get_parameter("v_bias").fill_(2)
    assert attention.qkv_bias("").tolist() == [1] * 4 + [0] * 4 + [2] * 4


@pytest.mark.parametrize("windows", [1, 3])
def test_a_bias_of_each_window_is_that_windows_own(windows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, v = torch.randn(6, 2, 4, 4, generator=generator), torch.randn(6, 2, 4, 5, generator=generator)
    bias = torch.randn(windows, 2, 4, 4, generator=generator)
    found = weigh(logits, v, bias)
    for index in range(6):
        weights = (logits[index] + bias[index % windows]).softmax(dim=-1)
        assert torch.allclose(found[index], (weights @ v[index]).transpose(0, 1).reshape(4, 10), atol=1e-6)
