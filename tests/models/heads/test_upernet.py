"""Adaptive pooling as matrix products is PyTorch's, and no weight of the model."""

import pytest
import torch
from torch.nn import functional

from slide_export.models.heads.upernet import AdaptivePool


@pytest.mark.parametrize(("bins", "size"), [(6, (7, 16)), (3, (16, 7)), (1, (5, 9)), (6, (4, 3))])
def test_pooling_by_products_is_adaptive_pooling(bins: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size)
    expected = functional.adaptive_avg_pool2d(x, bins)
    assert (AdaptivePool(bins, size).fuse()(x) - expected).abs().max() <= 1e-6


def test_a_pooling_matrix_is_a_buffer_that_no_file_holds() -> None:
    pool = AdaptivePool(6, (7, 16)).fuse()
    assert {name for name, _ in pool.named_buffers()} == {"rows", "cols"}
    assert not pool.state_dict()
