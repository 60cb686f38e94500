"""Distances that a table holds, at the last map that fits and the first that does not."""

import pytest
import torch
from torch import nn

from slide_export.models.family import ShapeError
from slide_export.models.pooling_attention import PoolingShape, every_head, scaled


def shape(side: int, table: int, q_stride: int = 1, kv_stride: int = 4) -> PoolingShape:
    return PoolingShape(8, 8, 2, (side, side), q_stride, kv_stride, (table, table))


@pytest.mark.parametrize(
    ("side", "q_stride", "kv_stride", "table"),
    [(56, 1, 4, 55), (28, 2, 2, 14), (7, 1, 1, 7), (2, 1, 1, 2), (1, 1, 1, 1)],
)
def test_a_table_holds_every_distance_or_lacks_the_largest(
    side: int, q_stride: int, kv_stride: int, table: int
) -> None:
    """Of maps 56 and 14 a side distances go up to 55 + 4 * 13 = 107, of which a table of 2 * 55 - 1 has the place."""
    shape(side, table, q_stride, kv_stride).refuse_missing_distances()
    with pytest.raises(ShapeError, match=f"a table of {2 * (table - 1) - 1} lacks"):
        shape(side, table - 1, q_stride, kv_stride).refuse_missing_distances()


def test_one_convolution_of_all_heads_is_each_heads() -> None:
    torch.manual_seed(0)
    one = nn.Conv2d(3, 3, 3, stride=2, padding=1, groups=3, bias=False)
    x = torch.randn(1, 6, 5, 5)
    with torch.no_grad():
        found = every_head(one, 2)(x)
        assert torch.allclose(found, torch.cat((one(x[:, :3]), one(x[:, 3:])), dim=1), atol=1e-6)
    with pytest.raises(TypeError, match="expected a Conv2d, found Linear"):
        every_head(nn.Linear(1, 1), 2)


def test_a_norm_is_scaled_with_its_bias() -> None:
    norm = nn.LayerNorm(3, eps=1e-3)
    nn.init.ones_(norm.bias)
    x = torch.randn(2, 3)
    with torch.no_grad():
        assert torch.allclose(scaled(norm, 0.5)(x), 0.5 * norm(x), atol=1e-6)
    with pytest.raises(TypeError, match="expected a LayerNorm"):
        scaled(nn.Identity(), 0.5)
