"""Shifts are exact at every border, and logits that only fill a register have no weight."""

import pytest
import torch

from slide_export.inference.forms.shifts import NEVER, Shift, ShiftsSlideAttention, WideShiftsSlideAttention
from slide_export.models.slide_attention import SlideAttention


@pytest.mark.parametrize("rows", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("cols", [-2, -1, 0, 1, 2])
def test_a_shift_reads_where_it_says_and_zero_outside(rows: int, cols: int) -> None:
    x = torch.arange(1.0, 25.0).reshape(1, 2, 3, 4)
    expected = torch.zeros_like(x)
    for y in range(3):
        for z in range(4):
            if 0 <= y + rows < 3 and 0 <= z + cols < 4:
                expected[:, :, y, z] = x[:, :, y + rows, z + cols]
    shift = Shift(2, rows, cols, torch.float32)
    assert torch.equal(shift(x), expected)
    assert shift.kernel.shape[2:] == (1 + abs(rows), 1 + abs(cols))


def test_no_shift_is_the_map_itself() -> None:
    x = torch.ones(1, 2, 3, 4)
    assert Shift(2, 0, 0, torch.float32)(x) is x


@pytest.mark.parametrize(
    ("kind", "kernel", "lanes"),
    [
        (ShiftsSlideAttention, 3, 8),
        (ShiftsSlideAttention, 5, 24),
        (ShiftsSlideAttention, 7, 48),
        (WideShiftsSlideAttention, 3, 16),
        (WideShiftsSlideAttention, 5, 32),
        (WideShiftsSlideAttention, 7, 48),
    ],
)
def test_a_heads_logits_fill_whole_registers(kind: type[ShiftsSlideAttention], kernel: int, lanes: int) -> None:
    form = kind(SlideAttention(4, 2, kernel).fuse())
    assert form.lanes == lanes
    assert (form.sum_biases.bias is not None) is (lanes >= kernel**2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_what_fills_a_register_has_no_weight(dtype: torch.dtype) -> None:
    assert torch.tensor(NEVER, dtype=dtype).exp() == 0
    assert torch.isfinite(torch.tensor(NEVER, dtype=dtype))


@pytest.mark.parametrize("largest", [-50.0, 0.0, 80.0, 1000.0])
def test_weights_are_a_softmax_with_a_logit_of_0(largest: float) -> None:
    """Of logits far above and far below 0 alike: exp never overflows."""
    form = ShiftsSlideAttention(SlideAttention(4, 1, 3).fuse())
    logits = torch.linspace(-100, 0, 8).reshape(1, 8, 1, 1) + largest
    whole = torch.cat((logits.flatten(), torch.zeros(1))).double().softmax(0)[:8]
    assert torch.allclose(form._softmax(logits).flatten().double(), whole, atol=1e-6)
