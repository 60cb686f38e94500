"""Stripes against their definition, window by window, and the fused form."""

import pytest
import torch
from torch import Tensor

from slide_export.models import ShapeError
from slide_export.models.stripe_attention import StripeBlock, stripes
from tests.conftest import randomise

ROUNDING = 1e-12  # float64
CASES = [((4, 6), (1, 1)), ((4, 6), (2, 2)), ((6, 9), (3, 3)), ((6, 5), (2, 5)), ((4, 4), (4, 4)), ((3, 5), (0, 0))]


def by_definition(block: StripeBlock, x: Tensor) -> Tensor:
    """The attention of one block before its residual: one window, one head at a time, LePE tap by tap."""
    batch, rows, cols, _ = x.shape
    branches, heads = len(block.attns), block.attns[0].heads
    q, k, v = block.qkv(x).reshape(batch, rows, cols, 3, branches, heads, -1).unbind(3)
    out = torch.zeros_like(q)
    for branch, attention in enumerate(block.attns):
        height, width = attention.windows.size
        kernel = attention.get_v.weight.reshape(heads, -1, 3, 3)
        for top in range(0, rows, height):
            for left in range(0, cols, width):
                place = (slice(None), slice(top, top + height), slice(left, left + width), branch)
                queries, keys, values = (part[place].flatten(1, 2) for part in (q, k, v))  # [B, N, nH, d]
                weights = (torch.einsum("bqhd,bkhd->bhqk", queries, keys) * attention.scale).softmax(dim=-1)
                attended = torch.einsum("bhqk,bkhd->bqhd", weights, values).reshape(batch, height, width, heads, -1)
                padded = torch.nn.functional.pad(v[place], (0, 0, 0, 0, 1, 1, 1, 1))
                taps = [
                    kernel[..., i, j] * padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)
                ]
                out[place] = attended + sum(taps) + attention.get_v.bias.reshape(heads, -1)
    return block.proj(out.flatten(3))


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> tuple[StripeBlock, Tensor, Tensor]:
    resolution, stripe = request.param
    block = randomise(StripeBlock(8, 4, resolution, stripe, 2.0)).double()
    x = torch.randn(2, *resolution, 8, dtype=torch.float64)
    with torch.inference_mode():
        middle = x + by_definition(block, block.norm1(x))
        return block, x, middle + block.mlp(block.norm2(middle))


def test_block_is_the_definition(case: tuple[StripeBlock, Tensor, Tensor]) -> None:
    block, x, expected = case
    with torch.inference_mode():
        assert (block(x) - expected).abs().max() < ROUNDING


def test_fused_block_is_the_definition(case: tuple[StripeBlock, Tensor, Tensor]) -> None:
    block, x, expected = case
    fused = block.fuse()
    with torch.inference_mode():
        assert (fused(x) - expected).abs().max() < ROUNDING
    assert not hasattr(fused, "fuse")


@pytest.mark.parametrize("wrong", ["qkv.weight", "qkv.bias"])
def test_one_wrong_weight_fails_this_proof(wrong: str) -> None:
    block = randomise(StripeBlock(8, 4, (4, 6), (2, 2), 2.0)).double()
    fused, x = block.fuse(), torch.randn(1, 4, 6, 8, dtype=torch.float64)
    with torch.inference_mode():
        block.get_parameter(wrong).view(-1)[0] += 1e-2
        assert (fused(x) - block(x)).abs().max() > ROUNDING * 1e3


@pytest.mark.parametrize(
    ("resolution", "width", "expected"),
    [
        ((56, 56), (1, 1), ((56, 1), (1, 56))),
        ((14, 14), (7, 7), ((14, 7), (7, 14))),
        ((15, 28), (5, 7), ((15, 7), (5, 28))),
        ((7, 7), (0, 0), ((7, 7),)),
    ],
)
def test_stripes_cross_the_whole_map(
    resolution: tuple[int, int], width: tuple[int, int], expected: tuple[tuple[int, int], ...]
) -> None:
    assert stripes(resolution, width) == expected


@pytest.mark.parametrize(("resolution", "width"), [((15, 28), (7, 7)), ((14, 15), (7, 7)), ((0, 4), (1, 1))])
def test_a_map_that_stripes_do_not_divide_is_refused(resolution: tuple[int, int], width: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match=f"a map of {resolution[0]}x{resolution[1]}"):
        stripes(resolution, width)


def test_a_stripe_of_one_pixel_keeps_a_third_of_its_kernel() -> None:
    fused = StripeBlock(8, 4, (4, 6), (1, 1), 2.0).fuse()
    assert [attention.get_v.weight.shape[2:] for attention in fused.attns] == [(3, 1), (1, 3)]
