"""Attention to a reduced map against its definition, and its fused forms."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from slide_export.models.layers import Mlp
from slide_export.models.spatial_reduction import PooledAttention, ReducedAttention, ReducedBlock, averages
from tests.conftest import randomise

ROUNDING = 1e-12  # float64
SINGLE = 1e-6  # float32: the matrices of averages are made in it


def by_definition(attention: ReducedAttention, x: Tensor, seen: Tensor) -> Tensor:
    """The module's result head by head, from the tokens that are looked at, [B, M, C]."""
    batch, rows, cols, dim = x.shape
    width = dim // attention.heads
    q, kv = attention.q(x).reshape(batch, rows * cols, dim), attention.kv(seen)
    out = []
    for head in range(attention.heads):
        part = slice(head * width, (head + 1) * width)
        k, v = kv[..., :dim][..., part], kv[..., dim:][..., part]
        weights = torch.einsum("bnc,bmc->bnm", q[..., part], k).div(width**0.5).softmax(dim=-1)
        out.append(torch.einsum("bnm,bmc->bnc", weights, v))
    return attention.proj(torch.cat(out, dim=-1)).reshape(x.shape)


@pytest.mark.parametrize(("size", "reduction"), [((4, 6), 2), ((5, 7), 2), ((3, 5), 1), ((1, 10), 1), ((8, 8), 8)])
def test_reduced_attention_is_the_definition(size: tuple[int, int], reduction: int) -> None:
    attention, x = randomise(ReducedAttention(8, 2, reduction)).double(), torch.randn(2, *size, 8).double()
    seen = x.flatten(1, 2)
    if attention.sr is not None and attention.norm is not None:
        whole = x[:, : size[0] // reduction * reduction, : size[1] // reduction * reduction]
        squares = whole.reshape(2, size[0] // reduction, reduction, size[1] // reduction, reduction, 8)
        seen = attention.norm(torch.einsum("bhiwjc,ocij->bhwo", squares, attention.sr.weight) + attention.sr.bias)
    expected = by_definition(attention, x, seen.reshape(2, -1, 8))
    assert (attention(x) - expected).abs().max() < ROUNDING
    assert (attention.fuse()(x) - expected).abs().max() < ROUNDING


@pytest.mark.parametrize("size", [(14, 21), (7, 7), (9, 5), (2, 16)])
def test_pooled_attention_looks_at_49_tokens(size: tuple[int, int]) -> None:
    attention, x = randomise(PooledAttention(6, 3, size)).double(), torch.randn(2, *size, 6).double()
    pooled = functional.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), 7).flatten(2).transpose(1, 2)
    mixed = pooled @ attention.sr.weight.flatten(1).T + attention.sr.bias
    expected = by_definition(attention, x, functional.gelu(attention.norm(mixed)))
    assert (attention(x) - expected).abs().max() < ROUNDING
    assert (attention.fuse()(x) - expected).abs().max() < SINGLE


@pytest.mark.parametrize("length", [1, 2, 6, 7, 8, 13, 56])
def test_averages_are_torchs_adaptive_pooling(length: int) -> None:
    x = torch.randn(1, 3, length)
    assert (averages(length, 7) @ x[0].T - functional.adaptive_avg_pool1d(x, 7)[0].T).abs().max() < SINGLE


def test_fused_forms_notice_one_wrong_weight() -> None:
    attention, x = randomise(ReducedAttention(8, 2, 2)).double(), torch.randn(1, 4, 4, 8).double()
    fused = attention.fuse()
    with torch.no_grad():
        fused.q.weight[0, 0] += 1e-3
    assert (fused(x) - attention(x)).abs().max() > 1e3 * ROUNDING


def test_fused_is_another_class_and_answers_timms_hook() -> None:
    for attention in (ReducedAttention(8, 2, 2), PooledAttention(8, 2, (4, 4))):
        fused = attention.reparameterize()
        assert type(fused).__name__ == "FusedReducedAttention"
        assert not hasattr(fused, "fuse")


def test_block_norms_before_each_half() -> None:
    block, x = randomise(ReducedBlock(8, ReducedAttention(8, 2, 1), Mlp(8, 16))), torch.randn(1, 3, 3, 8)
    middle = x + block.attn(functional.layer_norm(x, (8,), block.norm1.weight, block.norm1.bias, 1e-6))
    expected = middle + block.mlp(functional.layer_norm(middle, (8,), block.norm2.weight, block.norm2.bias, 1e-6))
    assert (block(x) - expected).abs().max() < SINGLE
