"""Order of taps and rows: each tap looks where upstream's does, and what every logit has is taken away exactly."""

import pytest
import torch
from torch import nn

from slide_export.inference.forms.folding import (
    depthwise,
    grouped_pointwise,
    head_sums,
    linears,
    offsets,
    qkv_by_part,
    relative_to_centre,
    tap_biases,
    tap_kernels,
)
from slide_export.models.slide_attention import LepeSlideAttention, SlideAttention
from tests.conftest import randomise

ROUNDING = 1e-12


def fused(kind: type[SlideAttention] = SlideAttention, heads: int = 2, kernel: int = 3):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    attention = randomise(kind(4 * heads, heads, kernel)).double()
    assert isinstance(attention, SlideAttention)
    return attention.fuse()


@pytest.mark.parametrize(("kernel", "first", "middle"), [(3, (-1, -1), 4), (5, (-2, -2), 12), (1, (0, 0), 0)])
def test_taps_go_row_by_row_around_the_middle(kernel: int, first: tuple[int, int], middle: int) -> None:
    found = offsets(kernel)
    assert (len(found), found[0], found[middle]) == (kernel**2, first, (0, 0))
    assert found[-1] == (-first[0], -first[1])
    assert kernel == 1 or found[1] == (first[0], first[1] + 1)


def test_the_middle_tap_is_taken_from_every_other_and_dropped() -> None:
    taps = torch.arange(10.0, 19.0)
    assert relative_to_centre(taps).tolist() == [-4, -3, -2, -1, 1, 2, 3, 4]
    logits, weights = torch.randn(9), None
    weights = torch.cat((relative_to_centre(logits)[:4], torch.zeros(1), relative_to_centre(logits)[4:])).softmax(0)
    assert torch.allclose(weights, logits.softmax(0))


def test_rows_of_a_fused_layer_are_parted_and_queries_scaled() -> None:
    made = fused()
    x = torch.randn(5, 8, dtype=torch.float64)
    upstream = made.qkv(x).reshape(5, 2, 3, 4)  # (head, q|k|v, channel)
    parts = qkv_by_part(made)(x).reshape(5, 3, 2, 4)
    assert (parts[:, 0] - upstream[:, :, 0] * made.scale).abs().max() < ROUNDING
    assert (parts[:, 1:] - upstream[:, :, 1:].transpose(1, 2)).abs().max() < ROUNDING
    q, k, v = (layer(x) for layer in linears(made))
    assert (torch.cat((q, k, v), dim=1) - parts.flatten(1)).abs().max() < ROUNDING


@pytest.mark.parametrize("kind", [SlideAttention, LepeSlideAttention])
def test_values_have_kernels_of_their_own_with_lepe_alone(kind: type[SlideAttention]) -> None:
    made = fused(kind)
    keys, values = tap_kernels(made)
    assert keys.shape == values.shape == (9, 8, 1, 3, 3)
    assert torch.equal(keys[:, :4], keys[:, 4:])  # one for all heads
    assert torch.equal(keys, values) is (kind is SlideAttention)


def test_a_keys_bias_carries_its_heads_position_bias() -> None:
    made = fused()
    keys, values = tap_biases(made)
    position = made.relative_position_bias  # [nH, k*k]
    assert keys.shape == (9, 8)
    assert (keys - values - position.T.repeat_interleave(4, dim=1)).abs().max() < ROUNDING


def test_a_depthwise_convolution_keeps_the_size_of_its_map() -> None:
    conv = depthwise(torch.ones(4, 1, 5, 5), torch.zeros(4), 2)
    assert (conv.padding, conv.groups, conv(torch.ones(1, 2, 3, 3)).shape) == ((2, 2), 2, (1, 4, 3, 3))


@pytest.mark.parametrize("bias", [None, torch.tensor([1.0, 2.0])])
def test_a_grouped_1x1_convolution_is_a_product_a_group(bias: torch.Tensor | None) -> None:
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    found = grouped_pointwise(weight, bias, 2)(torch.tensor([1.0, 10.0, 100.0, 1000.0]).reshape(1, 4, 1, 1)).flatten()
    assert found.tolist() == [21 + (0 if bias is None else 1), 4300 + (0 if bias is None else 2)]


def test_a_convolution_without_a_bias_is_no_fused_one() -> None:
    made = fused()
    made.dep_conv.bias = None
    with pytest.raises(TypeError, match="expected a depthwise convolution with a bias"):
        tap_biases(made)
    assert isinstance(made.dep_conv, nn.Conv2d)


@pytest.mark.parametrize("starts", [None, torch.tensor([1.0, 2.0, 3.0, 4.0])])
def test_a_sum_is_over_the_channels_of_its_head_for_each_tap(starts: torch.Tensor | None) -> None:
    fused = SlideAttention(4, 2, 3).fuse()
    per_tap = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])  # [taps, C]
    found = head_sums(fused, per_tap, starts)(torch.tensor([1.0, 10.0, 100.0, 1000.0]).reshape(1, 4, 1, 1)).flatten()
    base = torch.zeros(4) if starts is None else starts
    assert found.tolist() == (torch.tensor([21.0, 65.0, 4300.0, 8700.0]) + base).tolist()
