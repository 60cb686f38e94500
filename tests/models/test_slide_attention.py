"""Slide attention against its definition, written as loops over taps, and its fused form."""

import pytest
import torch

from slide_export.models.slide_attention import LepeSlideAttention, SlideAttention, SlideBlock, shift_kernel
from tests.conftest import randomise

ROUNDING = 1e-12  # float64


def by_definition(attention: SlideAttention, x: torch.Tensor) -> torch.Tensor:
    """The module's result from its formula: explicit shifts, one head and one tap at a time."""
    heads, d, k = attention.heads, attention.width, attention.kernel_size
    batch, rows, cols, _ = x.shape
    qkv = attention.qkv(x).reshape(batch, rows, cols, heads, 3, d)
    learned, bias = (
        attention.dep_conv1.weight.reshape(d, k * k, k * k),
        attention.dep_conv.bias + attention.dep_conv1.bias,
    )
    kernels, bias = attention.dep_conv.weight.reshape(d, k * k, k * k) + learned, bias.reshape(d, k * k)

    def tap(feature: torch.Tensor, o: int) -> torch.Tensor:
        padded = torch.nn.functional.pad(feature, (0, 0, k // 2, k // 2, k // 2, k // 2))
        shifts = [padded[:, j // k : j // k + rows, j % k : j % k + cols] for j in range(k * k)]
        return sum(kernels[:, o, j] * shift for j, shift in enumerate(shifts)) + bias[:, o]

    out = []
    for head in range(heads):
        q, key, value = qkv[:, :, :, head].unbind(dim=3)
        table = attention.relative_position_bias_table[0, head, 0, :, 0, 0]
        logits = [((q * d**-0.5) * (tap(key, o) + table[o])).sum(dim=-1) for o in range(k * k)]
        weights = torch.stack(logits, dim=-1).softmax(dim=-1)
        out.append(sum(weights[..., o, None] * tap(value, o) for o in range(k * k)))
    return attention.proj(torch.cat(out, dim=-1))


@pytest.fixture(params=[(3, 1, (5, 6)), (3, 2, (4, 4)), (5, 2, (7, 5)), (7, 3, (6, 9))])
def case(request: pytest.FixtureRequest) -> tuple[SlideAttention, torch.Tensor]:
    kernel, heads, size = request.param
    attention = randomise(SlideAttention(4 * heads, heads, kernel)).double()
    return attention, torch.randn(2, *size, 4 * heads, dtype=torch.float64)


def test_two_paths_are_the_definition(case: tuple[SlideAttention, torch.Tensor]) -> None:
    attention, x = case
    with torch.inference_mode():
        assert (attention(x) - by_definition(attention, x)).abs().max() < ROUNDING


def test_fused_is_the_definition(case: tuple[SlideAttention, torch.Tensor]) -> None:
    attention, x = case
    with torch.inference_mode():
        assert (attention.fuse()(x) - by_definition(attention, x)).abs().max() < ROUNDING


def test_fuse_sums_a_drifted_shift_path() -> None:
    attention = randomise(SlideAttention(8, 2)).double()
    with torch.no_grad():
        attention.dep_conv.weight += 0.1
    x = torch.randn(1, 4, 4, 8, dtype=torch.float64)
    with torch.inference_mode():
        assert (attention.fuse()(x) - attention(x)).abs().max() < ROUNDING
    assert attention.drift() == pytest.approx(0.1)


def test_shift_kernel_moves_a_map_by_each_tap() -> None:
    x = torch.randn(1, 2, 5, 5)
    shifted = torch.nn.functional.conv2d(x, shift_kernel(2, 3), padding=1, groups=2)
    expected = torch.nn.functional.unfold(x, 3, padding=1).reshape(1, 18, 5, 5)
    assert torch.equal(shifted, expected)


def test_fused_is_another_class_and_answers_timms_hook() -> None:
    block = SlideBlock(8, 2, 3, 4.0)
    fused = block.attn.reparameterize()
    assert type(fused).__name__ == "FusedSlideAttention"
    assert not hasattr(fused, "fuse")
    assert not hasattr(fused, "dep_conv1")
    assert block(torch.randn(1, 4, 4, 8)).shape == (1, 4, 4, 8)


@pytest.mark.parametrize("kernel", [3, 5])
def test_lepe_adds_a_convolution_of_the_values(kernel: int) -> None:
    attention = randomise(LepeSlideAttention(8, 2, kernel)).double()
    x = torch.randn(2, 5, 6, 8, dtype=torch.float64)
    values = attention.qkv(x).reshape(2, 5, 6, 2, 3, 4)[..., 2, :].flatten(3)
    padded, weight = torch.nn.functional.pad(values, (0, 0, 1, 1, 1, 1)), attention.get_v.weight[:, 0]
    lepe = sum(weight[:, i, j] * padded[:, i : i + 5, j : j + 6] for i in range(3) for j in range(3))
    with torch.inference_mode():
        without = by_definition(attention, x)
        expected = without + (lepe + attention.get_v.bias) @ attention.proj.weight.T
        assert (attention(x) - expected).abs().max() < ROUNDING
        assert (attention.fuse()(x) - expected).abs().max() < ROUNDING
