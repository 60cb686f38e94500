"""Maps as each tap sees them, and sums over the channels of a head."""

import pytest
import torch

from slide_export.inference.forms.folding import offsets
from slide_export.inference.forms.gemm_per_tap import head_sums, shifted
from slide_export.models.slide_attention import SlideAttention


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_each_tap_sees_its_neighbour_and_zero_outside(kernel: int) -> None:
    x = torch.arange(1.0, 13.0).reshape(1, 1, 3, 4)
    seen = list(shifted(x, kernel))
    assert len(seen) == kernel**2
    for (rows, cols), found in zip(offsets(kernel), seen, strict=True):
        for y in range(3):
            for z in range(4):
                inside = 0 <= y + rows < 3 and 0 <= z + cols < 4
                assert found[0, 0, y, z] == (x[0, 0, y + rows, z + cols] if inside else 0)


@pytest.mark.parametrize("starts", [None, torch.tensor([1.0, 2.0, 3.0, 4.0])])
def test_a_sum_is_over_the_channels_of_its_head_for_each_tap(starts: torch.Tensor | None) -> None:
    fused = SlideAttention(4, 2, 3).fuse()
    per_tap = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])  # [taps, C]
    found = head_sums(fused, per_tap, starts)(torch.tensor([1.0, 10.0, 100.0, 1000.0]).reshape(1, 4, 1, 1)).flatten()
    base = torch.zeros(4) if starts is None else starts
    assert found.tolist() == (torch.tensor([21.0, 65.0, 4300.0, 8700.0]) + base).tolist()
