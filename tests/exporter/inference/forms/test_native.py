"""The weights of the operator, and its function pixel by pixel as the C++ file has it."""

import pytest
import torch
from torch import Tensor

from slide_export.inference.forms.native import NativeSlideAttention, attended
from slide_export.models.slide_attention import LepeSlideAttention, SlideAttention
from tests.conftest import randomise

HEADS, WIDTH, SIDE = 2, 3, 3
TAPS = SIDE * SIDE


@pytest.mark.parametrize(("kind", "of_values"), [(SlideAttention, 1), (LepeSlideAttention, HEADS)])
def test_kernels_are_shared_by_heads_where_the_model_shares_them(kind: type[SlideAttention], of_values: int) -> None:
    made = NativeSlideAttention(randomise(kind(HEADS * WIDTH, HEADS, SIDE)).fuse())
    assert tuple(made.keys.shape) == (TAPS - 1, TAPS, WIDTH)
    assert tuple(made.key_bias.shape) == (HEADS, TAPS - 1, WIDTH)
    assert tuple(made.values.shape) == (of_values, TAPS, TAPS, WIDTH)
    assert tuple(made.value_bias.shape) == (of_values, TAPS, WIDTH)
    own = (made.keys, made.key_bias, made.values, made.value_bias)
    assert all(weight.is_contiguous() and not weight.requires_grad for weight in own)


def by_pixel(qkv: Tensor, keys: Tensor, key_bias: Tensor, values: Tensor, value_bias: Tensor) -> Tensor:
    """A pixel and a head at a time, what is outside being zero."""
    batch, rows, cols, channels = qkv.shape
    dim, half = channels // 3, SIDE // 2
    padded = torch.nn.functional.pad(qkv, (0, 0, half, half, half, half))
    out = torch.zeros(batch, rows, cols, dim, dtype=qkv.dtype)
    for row in range(rows):
        for col in range(cols):
            around = padded[:, row : row + SIDE, col : col + SIDE].reshape(batch, TAPS, channels)
            for head in range(HEADS):
                own = slice(head * WIDTH, (head + 1) * WIDTH)
                q, k, v = qkv[:, row, col, own], around[:, :, dim:][..., own], around[:, :, 2 * dim :][..., own]
                shared = head * len(values) // HEADS
                logits = [(q * ((k * keys[tap]).sum(1) + key_bias[head, tap])).sum(-1) for tap in range(TAPS - 1)]
                weights = torch.stack([torch.zeros(batch, dtype=qkv.dtype), *logits], -1).softmax(-1)
                seen = [(v * values[shared, tap]).sum(1) + value_bias[shared, tap] for tap in range(TAPS)]
                others = [weights[:, tap, None] * seen[tap] for tap in range(1, TAPS)]
                out[:, row, col, own] = seen[0] + sum(others)
    return out


@pytest.mark.parametrize("of_values", [1, HEADS])
def test_the_function_is_what_it_says_at_each_pixel(of_values: int) -> None:
    torch.manual_seed(0)
    qkv = torch.randn(2, 4, 5, 3 * HEADS * WIDTH, dtype=torch.float64)
    weights = [
        torch.randn(*shape, dtype=torch.float64)
        for shape in (
            (TAPS - 1, TAPS, WIDTH),
            (HEADS, TAPS - 1, WIDTH),
            (of_values, TAPS, TAPS, WIDTH),
            (of_values, TAPS, WIDTH),
        )
    ]
    found = attended(qkv, *weights, HEADS, SIDE)
    assert found.is_contiguous()
    assert torch.allclose(found, by_pixel(qkv, *weights), rtol=1e-10, atol=1e-10)
