"""Blocks that several families share, against the plainest way to write them."""

import pytest
import torch
from torch.nn import functional

from slide_export.models.layers import Mlp, PatchEmbed, PatchMerging, pad_end, roll

EXACT = 1e-6  # same operations in another layout, float32


def test_mlp_is_two_linears_around_an_exact_gelu() -> None:
    mlp, x = Mlp(4, 8), torch.randn(2, 3, 3, 4)
    hidden = x @ mlp.fc1.weight.T + mlp.fc1.bias
    expected = (hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))) @ mlp.fc2.weight.T + mlp.fc2.bias
    assert (mlp(x) - expected).abs().max() < EXACT


def test_patch_embed_pads_what_does_not_divide() -> None:
    embed, images = PatchEmbed(5), torch.randn(1, 3, 10, 13)
    padded = functional.pad(images, (0, 3, 0, 2))
    assert embed(images).shape == (1, 3, 4, 5)
    assert torch.equal(embed(images), embed(padded))


@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_patch_merging_joins_squares_column_by_column(size: tuple[int, int]) -> None:
    merging, x = PatchMerging(3), torch.randn(2, *size, 3)
    padded = functional.pad(x, (0, 0, 0, size[1] % 2, 0, size[0] % 2))
    parts = [padded[:, row::2, col::2] for col in (0, 1) for row in (0, 1)]
    expected = merging.reduction(merging.norm(torch.cat(parts, dim=-1)))
    assert (merging(x) - expected).abs().max() < EXACT


def test_pad_end_returns_the_tensor_itself_when_nothing_is_missing() -> None:
    x = torch.randn(1, 2, 2, 3)
    assert pad_end(x, 0, 0) is x
    assert pad_end(x, 1, 2).shape == (1, 3, 4, 3)


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, 3), (2, 5)])
def test_roll_is_torchs(shift: tuple[int, int]) -> None:
    x = torch.randn(2, 4, 6, 3)
    assert torch.equal(roll(x, *shift), torch.roll(x, (-shift[0], -shift[1]), dims=(1, 2)))
