"""Windows, masks and the folded form, against direct constructions."""

import pytest
import torch

from slide_export.models.window_attention import MASKED, WindowBlock, Windows, relative_position_index, resize_table

FOLDED = 2e-6  # float32, the scale multiplied into the weights instead of the queries
CASES = [((8, 8), (4, 4)), ((8, 12), (4, 4)), ((7, 10), (4, 3)), ((3, 9), (4, 4)), ((4, 4), (7, 7))]


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("resolution", "window"), CASES)
def test_join_undoes_cut(resolution: tuple[int, int], window: tuple[int, int], shifted: bool) -> None:
    windows, x = Windows(resolution, window, shifted=shifted), torch.randn(2, *resolution, 3)
    assert torch.equal(windows.join(windows.cut(x)), x)


def test_cut_gives_the_windows_row_by_row() -> None:
    x = torch.arange(2 * 4 * 6.0).reshape(2, 4, 6, 1)
    cut = Windows((4, 6), (2, 3), shifted=False).cut(x)
    assert torch.equal(cut[1, :, 0], x[0, 0:2, 3:6, 0].reshape(-1))
    assert torch.equal(cut[6, :, 0], x[1, 2:4, 0:3, 0].reshape(-1))


def test_mask_keeps_apart_what_only_the_roll_made_neighbours() -> None:
    size, window, shift = 8, 4, 2
    windows = Windows((size, size), (window, window), shifted=True)
    place = torch.arange(size * size).reshape(1, size, size, 1)
    rows, cols = (windows.cut(part.float())[..., 0] for part in (place // size, place % size))
    # Two tokens of a window may see each other if neither axis lies across the wrapped border.
    across = [(axis[:, :, None] < shift) != (axis[:, None, :] < shift) for axis in (rows, cols)]
    edge = torch.arange(4).reshape(2, 2)
    last = torch.stack([edge[w // 2, w % 2] for w in range(4)])
    expected = torch.zeros(4, window**2, window**2)
    expected[(across[0] & (last >= 2)[:, None, None]) | (across[1] & (last % 2 == 1)[:, None, None])] = MASKED
    assert torch.equal(windows.mask(), expected)


def test_what_is_masked_is_upstreams() -> None:
    """Source: microsoft/Swin-Transformer, models/swin_transformer.py, SwinTransformerBlock: float(-100.0)."""
    assert MASKED == -100.0


def test_a_table_is_resized_as_upstream_does() -> None:
    """Source: microsoft/Swin-Transformer, utils.py, load_pretrained: bicubic, with align_corners as PyTorch has it."""
    table = torch.randn(49, 3, generator=torch.Generator().manual_seed(0))
    upstream = torch.nn.functional.interpolate(table.T.reshape(1, 3, 7, 7), size=(15, 15), mode="bicubic")
    assert torch.allclose(resize_table(table, (4, 4), (8, 8)), upstream.reshape(3, 225).T, atol=1e-6)  # float32


def test_no_shift_where_the_window_covers_the_map() -> None:
    assert Windows((7, 7), (7, 7), shifted=True).mask() is None
    assert Windows((7, 14), (7, 7), shifted=True).shift == (0, 3)


def test_relative_position_index_counts_offsets() -> None:
    index = relative_position_index((2, 3))
    assert index.shape == (6, 6)
    assert int(index[0, 0]) == 1 * 5 + 2  # offset (0, 0): the table's centre
    assert int(index[5, 0]) == 2 * 5 + 4  # query (1, 2), key (0, 0)


def test_resize_table_keeps_a_constant_and_follows_a_ramp() -> None:
    ramp = torch.linspace(-1, 1, 7).repeat(7, 1)
    table = torch.stack((torch.ones(49), ramp.reshape(-1)), dim=1)
    resized = resize_table(table, (4, 4), (8, 8)).reshape(15, 15, 2)
    assert (resized[..., 0] - 1).abs().max() < 1e-6
    assert (resized[7, 3:12, 1].diff() > 0).all()


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("resolution", "window"), CASES)
def test_fused_block_is_the_trained_one(resolution: tuple[int, int], window: tuple[int, int], shifted: bool) -> None:
    torch.manual_seed(0)
    block = WindowBlock(12, 3, Windows(resolution, window, shifted=shifted), mlp_ratio=2.0).eval()
    x = torch.randn(2, *resolution, 12)
    with torch.inference_mode():
        assert (block.fuse()(x) - block(x)).abs().max() < FOLDED
    assert type(block.fuse()) is not type(block)
    assert not hasattr(block.fuse(), "fuse")


@pytest.mark.parametrize("sides", [(56, 56), (56, 63)], ids=["64 windows", "72 windows"])
def test_a_mask_of_many_windows_stays_apart_and_computes_the_same(sides: tuple[int, int]) -> None:
    torch.manual_seed(0)
    block = WindowBlock(8, 2, Windows(sides, (7, 7), shifted=True), mlp_ratio=2.0).eval()
    fused = block.fuse()
    many = sides[0] * sides[1] // 49 > 64
    assert (fused.attn.mask is not None) == many
    assert fused.attn.bias.shape[0] == (1 if many else 64)
    x = torch.randn(2, *sides, 8)
    with torch.inference_mode():
        assert (fused(x) - block(x)).abs().max() <= 1e-5  # of values near 1, in float32
