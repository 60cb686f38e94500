"""Neighbourhood attention against NATTEN's definition, position by position, for any size, and its fused form."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from slide_export.models.neighborhood_attention import MASKED, NeighborhoodAttention, Tiles, tile_side
from tests.conftest import randomise

ROUNDING = 1e-12  # float64


def by_definition(attention: NeighborhoodAttention, x: Tensor, kernel: int) -> Tensor:
    """The result of NATTEN's definition: zeros up to k, then each query with the k*k keys of its window."""
    heads, rows, cols = attention.heads, x.shape[1], x.shape[2]
    x = torch.nn.functional.pad(x, (0, 0, 0, max(0, kernel - cols), 0, max(0, kernel - rows)))
    batch, height, width, dim = x.shape
    q, k, v = attention.qkv(x).reshape(batch, height, width, 3, heads, dim // heads).unbind(3)
    out = torch.zeros_like(q)
    for y in range(height):
        for z in range(width):
            top, left = (min(max(at - kernel // 2, 0), n - kernel) for at, n in ((y, height), (z, width)))
            keys, values = (part[:, top : top + kernel, left : left + kernel].flatten(1, 2) for part in (k, v))
            down, right = top - y + kernel - 1, left - z + kernel - 1
            bias = attention.rpb[:, down : down + kernel, right : right + kernel].flatten(1)  # [nH, k*k]
            logits = torch.einsum("bhd,bkhd->bhk", q[:, y, z] * (dim // heads) ** -0.5, keys) + bias
            out[:, y, z] = torch.einsum("bhk,bkhd->bhd", logits.softmax(dim=-1), values)
    return attention.proj(out.flatten(3))[:, :rows, :cols]


@settings(deadline=None, max_examples=15, derandomize=True)
@given(kernel=st.sampled_from([3, 5, 7]), rows=st.integers(1, 19), cols=st.integers(1, 19))
def test_both_forms_are_the_definition(kernel: int, rows: int, cols: int) -> None:
    attention = randomise(NeighborhoodAttention(4, 2, (rows, cols), kernel), seed=rows * cols).double()
    with torch.no_grad():
        attention.rpb *= 20
    x = torch.randn(2, rows, cols, 4, dtype=torch.float64)
    with torch.inference_mode():
        expected = by_definition(attention, x, kernel)
        assert (attention(x) - expected).abs().max() < ROUNDING
        assert (attention.fuse()(x) - expected).abs().max() < ROUNDING


@pytest.mark.parametrize("place", [0, 24, 48, 60])
def test_one_wrong_bias_fails_this_proof(place: int) -> None:
    attention = randomise(NeighborhoodAttention(4, 1, (16, 15), 7)).double()
    fused, x = attention.fuse(), torch.randn(1, 16, 15, 4, dtype=torch.float64)
    with torch.inference_mode():
        attention.rpb.view(-1)[place] += 1e-3
        assert (fused(x) - attention(x)).abs().max() > ROUNDING * 1e3


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_masked_key_weighs_exactly_nothing(dtype: torch.dtype) -> None:
    logits = torch.tensor([60.0 + MASKED, -60.0, 0.0], dtype=dtype)
    assert logits.softmax(dim=0)[0] == 0


def test_a_mask_leaves_k_squared_keys_to_every_query() -> None:
    for side in range(7, 60):
        inside = (Tiles((side, 7), 7).mask() == 0).sum(dim=-1)
        assert (inside == 49).all(), side


@pytest.mark.parametrize(("side", "expected"), [(7, 7), (14, 14), (28, 7), (56, 7), (96, 7), (57, 10), (15, 8)])
def test_a_tile_is_the_one_with_the_fewest_products(side: int, expected: int) -> None:
    assert tile_side(side, 7) == expected


def test_ranks_stay_at_five() -> None:
    seen: list[int] = []

    class Ranks(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            parts = result if isinstance(result, tuple | list) else (result,)
            seen.extend(part.ndim for part in parts if isinstance(part, Tensor))
            return result

    fused = NeighborhoodAttention(8, 2, (16, 16), 5).fuse()
    with Ranks():
        fused(torch.randn(2, 16, 16, 8))
    assert max(seen) == 5
