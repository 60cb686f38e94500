"""Maps as each tap sees them."""

import pytest
import torch

from slide_export.inference.forms.folding import offsets
from slide_export.inference.forms.gemm_per_tap import shifted


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
