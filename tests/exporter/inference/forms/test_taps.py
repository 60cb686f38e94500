"""A softmax over maps that are never stacked: what the sum of exponents gives, for logits of any size."""

import pytest
import torch

from slide_export.inference.forms.taps import attend, tap_convolutions
from slide_export.models.slide_attention import LepeSlideAttention
from tests.conftest import randomise


def expected(logits: list[torch.Tensor], values: list[torch.Tensor]) -> torch.Tensor:
    middle = len(logits) // 2
    every = [*logits[:middle], torch.zeros_like(logits[0]), *logits[middle:]]
    weights = torch.stack(every).softmax(0)
    return (weights * torch.stack(values)).sum(0)


@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e-6])
def test_it_is_the_softmax_with_a_middle_logit_of_zero(side: int, scale: float) -> None:
    torch.manual_seed(0)
    logits = [scale * torch.randn(2, 1, 3, 4, dtype=torch.float64) for _ in range(side**2 - 1)]
    values = [torch.randn(2, 5, 3, 4, dtype=torch.float64) for _ in range(side**2)]
    assert torch.allclose(attend(logits, values), expected(logits, values), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("logit", [-6e4, -90.0, 90.0, 6e4])
def test_no_exponent_overflows_in_half(logit: float) -> None:
    logits = [torch.full((1, 1, 1, 1), logit, dtype=torch.float16) for _ in range(8)]
    values = [torch.full((1, 1, 1, 1), float(tap), dtype=torch.float16) for tap in range(9)]
    found = attend(logits, values).item()
    assert found == 4.0  # the middle tap alone, or the mean of all others: 0..8 without 4


def test_values_are_taken_as_they_come() -> None:
    made: list[int] = []

    def values() -> torch.Tensor:
        made.append(len(made))
        return torch.ones(1)

    assert attend([torch.zeros(1)] * 8, (values() for _ in range(9))).item() == 1.0
    assert made == list(range(9))
    with pytest.raises(ValueError, match="zip"):
        attend([torch.zeros(1)] * 8, [torch.ones(1)] * 8)


def test_every_tap_is_a_convolution_but_the_middle_one_of_the_keys() -> None:
    fused = randomise(LepeSlideAttention(8, 2, 3)).fuse()
    keys, values = tap_convolutions(fused)
    assert (len(keys), len(values)) == (8, 9)
    assert {(layer.groups, layer.in_channels, layer.out_channels) for layer in (*keys, *values)} == {(8, 8, 8)}
