"""Windows, masks and the folded form, against direct constructions."""

import pytest
import torch

from slide_export.models.family import ShapeError
from slide_export.models.window_attention import (
    MASKED,
    OWN_RULE,
    WindowAttention,
    WindowBlock,
    WindowRule,
    Windows,
    fold_scale,
    refuse_large,
    relative_position_index,
    resize_table,
)

FOLDED = 2e-6  # float32, the scale multiplied into the weights instead of the queries
CASES = [((8, 8), (4, 4)), ((8, 12), (4, 4)), ((7, 10), (4, 3)), ((3, 9), (4, 4)), ((4, 4), (7, 7)), ((4, 8), (4, 4))]


RULES = [
    OWN_RULE,
    WindowRule("joint"),
    WindowRule("pad"),
    WindowRule("pad-and-shift"),
    WindowRule(roll_first=True),
    WindowRule("pad", centred=True),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("resolution", "window"), CASES)
def test_join_undoes_cut(resolution: tuple[int, int], window: tuple[int, int], shifted: bool, rule: WindowRule) -> None:
    windows, x = Windows(resolution, window, shifted=shifted, rule=rule), torch.randn(2, *resolution, 3)
    assert torch.equal(windows.join(windows.cut(x)), x)


@pytest.mark.parametrize(
    ("resolution", "rule", "size", "shift"),
    [
        ((7, 14), "shrink", (7, 7), (0, 3)),
        ((7, 14), "joint", (7, 7), (0, 0)),
        ((7, 14), "pad", (7, 7), (0, 3)),
        ((7, 14), "pad-and-shift", (7, 7), (3, 3)),
        ((5, 16), "shrink", (5, 7), (0, 3)),
        ((5, 16), "pad", (7, 7), (0, 3)),
        ((5, 16), "pad-and-shift", (7, 7), (3, 3)),
        ((16, 16), "joint", (7, 7), (3, 3)),
        ((8, 8), "shrink", (7, 7), (3, 3)),
    ],
)
def test_a_window_no_smaller_than_its_map(
    resolution: tuple[int, int], rule: str, size: tuple[int, int], shift: tuple[int, int]
) -> None:
    windows = Windows(resolution, (7, 7), shifted=True, rule=WindowRule(rule))  # type: ignore[arg-type]
    assert (windows.size, windows.shift) == (size, shift)
    assert WindowRule() == WindowRule("shrink", roll_first=False, centred=False)


@pytest.mark.parametrize(("centred", "top", "left"), [(False, 0, 0), (True, 1, 2)])
def test_zeros_stand_behind_the_map_or_around_it(centred: bool, top: int, left: int) -> None:
    """A map of 5x9 in windows of 4x7: 3 rows and 5 columns of zeros, the smaller half first."""
    x = torch.arange(1, 1 + 5 * 9.0).reshape(1, 5, 9, 1)
    padded = torch.zeros(8, 14)
    padded[top : top + 5, left : left + 9] = x[0, :, :, 0]
    cut = Windows((5, 9), (4, 7), shifted=False, rule=WindowRule(centred=centred)).cut(x)[..., 0]
    assert torch.equal(cut, torch.stack([padded[r : r + 4, c : c + 7].flatten() for r in (0, 4) for c in (0, 7)]))


@pytest.mark.parametrize("roll_first", [False, True])
def test_a_map_is_rolled_before_or_after_it_is_padded(roll_first: bool) -> None:
    x = torch.arange(1, 1 + 1 * 6.0).reshape(1, 1, 6, 1)
    cut = Windows((1, 6), (1, 4), shifted=True, rule=WindowRule(roll_first=roll_first)).cut(x)
    row = [3, 4, 5, 6, 1, 2, 0, 0] if roll_first else [3, 4, 5, 6, 0, 0, 1, 2]
    assert cut.flatten().tolist() == row


@pytest.mark.parametrize(("window", "windows"), [((2, 3), 1), ((3, 3), 4)])
def test_attention_is_torchs_own(window: tuple[int, int], windows: int) -> None:
    """Beside `scaled_dot_product_attention`, whose scale is that of the published models."""
    torch.manual_seed(0)
    tokens, heads, width = window[0] * window[1], 3, 4
    attention = WindowAttention(heads * width, heads, window).double().eval()
    assert attention.relative_position_bias_table.shape == ((2 * window[0] - 1) * (2 * window[1] - 1), heads)
    x, mask = torch.randn(2 * windows, tokens, heads * width).double(), torch.randn(windows, tokens, tokens).double()
    q, k, v = attention.qkv(x).reshape(2 * windows, tokens, 3, heads, width).permute(2, 0, 3, 1, 4)
    for given in (None, mask):
        bias = attention.bias() + (0 if given is None else mask.repeat(2, 1, 1)[:, None])
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, bias)
        expected = attention.proj(out.transpose(1, 2).reshape(2 * windows, tokens, -1))
        torch.testing.assert_close(attention(x, given), expected, rtol=0, atol=1e-12)


def test_a_folded_layer_has_no_gradients_and_the_trained_ones_shape() -> None:
    trained = torch.nn.Linear(4, 12)
    folded = fold_scale(trained, 0.5)
    assert (folded.in_features, folded.out_features) == (4, 12)
    assert not folded.weight.requires_grad
    assert not folded.bias.requires_grad
    assert torch.equal(folded.weight, torch.cat([trained.weight[:4] / 2, trained.weight[4:]]))


@pytest.mark.parametrize(
    ("window", "windows", "taken"), [((64, 64), 8, True), ((64, 64), 9, False), ((64, 128), 2, True)]
)
def test_pairs_of_tokens_are_bounded(window: tuple[int, int], windows: int, taken: bool) -> None:
    """2^27 pairs: eight windows of 2^12 tokens."""
    if taken:
        refuse_large(window, windows)
    else:
        with pytest.raises(ShapeError, match="9 windows of 64x64, whose 150994944 pairs of tokens are too many"):
            refuse_large(window, windows)
    refuse_large((128, 90))  # one window: 132,710,400
    with pytest.raises(ShapeError, match="1 windows of 128x91"):
        refuse_large((128, 91))


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


def test_the_table_of_an_oblong_window_is_resized_by_its_sides() -> None:
    table = torch.randn(7 * 5, 2, generator=torch.Generator().manual_seed(0))
    image = table.T.reshape(1, 2, 7, 5)
    expected = torch.nn.functional.interpolate(image, size=(9, 15), mode="bicubic").reshape(2, 135).T
    assert torch.allclose(resize_table(table, (4, 3), (5, 8)), expected, atol=1e-6)  # float32


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


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("resolution", "window"), CASES)
def test_fused_block_is_the_trained_one(
    resolution: tuple[int, int], window: tuple[int, int], shifted: bool, heads: int
) -> None:
    torch.manual_seed(0)
    block = WindowBlock(12, heads, Windows(resolution, window, shifted=shifted), mlp_ratio=2.5).eval()
    assert block.mlp.fc1.out_features == 30
    x = torch.randn(2, *resolution, 12)
    with torch.inference_mode():
        assert (block.fuse()(x) - block(x)).abs().max() < FOLDED
    assert type(block.fuse()) is not type(block)
    assert not hasattr(block.fuse(), "fuse")


@pytest.mark.parametrize("sides", [(56, 56), (35, 91)], ids=["64 windows", "65 windows"])
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
