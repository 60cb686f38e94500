"""NAT's neighbourhood attention without NATTEN: dense attention of tiles, in operators that every target has.

A query attends to the k*k keys around it. A border does not cut the window, it moves it inwards (n rows):

    s(y) = clamp(y - k//2, 0, n - k)      keys of y: s(y) .. s(y) + k - 1      bias of key ky: rpb[ky - y + k - 1]

The map is cut into tiles; the queries of one attend, as one matrix product, to every key of the tile and of a margin
of k//2 around it, which holds all their windows, moved ones too. A constant mask removes what is outside a query's
window: exp(MASKED) is 0 in float32 and float16, so nothing is approximated. A tile and its margin are two blocks of an
axis, one cut short: two slices and a concatenation, however many tiles; no gather, no unfold.
Source: NATTEN 0.14.6, natten/functional and src natten_commons (window start, position bias index);
SHI-Labs/Neighborhood-Attention-Transformer d334f5b, classification/nat.py.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import pad_end
from .window_attention import Windows, fold_scale

MASKED = (
    -1e4
)  # float16 holds it and its exponential is exactly 0, which -100 does not promise (Apple ml-ane-transformers)
LARGEST_WHOLE = 14  # a map up to this side is one tile
SMALLEST_TILE = 7


class NeighborhoodAttention(nn.Module):
    """Multi-head attention of each position to its k*k neighbourhood, with a learned relative position bias.

    Args:
        dim: channels C.
        heads: number of heads nH.
        resolution: rows and columns of the map.
        kernel_size: side k of the neighbourhood, odd.
        dilation: distance of two neighbours of a row or column.
    """

    index: Tensor
    mask: Tensor

    def __init__(self, dim: int, heads: int, resolution: tuple[int, int], kernel_size: int, dilation: int = 1) -> None:
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.tiles = Tiles(resolution, kernel_size, dilation)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        span = 2 * kernel_size - 1
        self.rpb = nn.Parameter(nn.init.trunc_normal_(torch.empty(heads, span, span), std=0.02))
        self.register_buffer("index", self.tiles.index(), persistent=False)  # [Nq, Nk]
        self.register_buffer("mask", self.tiles.mask(), persistent=False)  # [T, Nq, Nk]

    def bias(self) -> Tensor:
        """Position bias of every query and key of a tile, [nH, Nq, Nk]; it is the same in every tile."""
        return self.rpb.flatten(1)[:, self.index]

    def forward(self, x: Tensor) -> Tensor:
        """Attend to the k*k nearest positions inside the map: [B, H, W, C] -> [B, H, W, C]."""
        q, k, v = self.qkv(self.tiles.grow(x)).chunk(3, dim=-1)
        return self.proj(attend(q * self.scale, k, v, self.tiles, self.heads, self.bias(), self.mask))

    def fuse(self) -> "FusedNeighborhoodAttention":
        """Inference form, sharing the weights that stay as they are."""
        return FusedNeighborhoodAttention(self)

    reparameterize = fuse


class FusedNeighborhoodAttention(nn.Module):
    """Neighbourhood attention with its constants folded: the scale in the qkv weights, the bias looked up."""

    bias: Tensor
    mask: Tensor

    def __init__(self, trained: NeighborhoodAttention) -> None:
        super().__init__()
        self.heads, self.tiles, self.proj = trained.heads, trained.tiles, trained.proj
        self.qkv = fold_scale(trained.qkv, trained.scale)
        self.register_buffer("bias", trained.bias().detach().clone())
        self.register_buffer("mask", trained.mask)

    def forward(self, x: Tensor) -> Tensor:
        """Same function, bias gathered and query scale folded: [B, H, W, C] -> [B, H, W, C]."""
        q, k, v = self.qkv(self.tiles.grow(x)).chunk(3, dim=-1)
        return self.proj(attend(q, k, v, self.tiles, self.heads, self.bias, self.mask))


class Tiles:
    """How a map is cut into tiles of queries and, with a margin, of keys.

    Args:
        resolution: rows and columns of the map; one smaller than the neighbourhood grows to its size.
        kernel_size: side k of the neighbourhood.
        dilation: every so many-th row and column is a map of its own, whose positions attend to each other alone.
    """

    def __init__(self, resolution: tuple[int, int], kernel_size: int, dilation: int = 1) -> None:
        self.kernel_size, self.resolution, self.dilation = kernel_size, resolution, dilation
        self.whole = grown(resolution, kernel_size, dilation)
        self.grown = (self.whole[0] // dilation, self.whole[1] // dilation)
        size = [tile_side(side, kernel_size) for side in self.grown]
        self.queries = Windows(self.grown, (size[0], size[1]), shifted=False)
        self.margin = tuple(kernel_size // 2 if t < side else 0 for t, side in zip(size, self.grown, strict=True))

    def grow(self, x: Tensor) -> Tensor:
        """Pad x [B, H, W, C] with zeros after its last row and column to at least k on each axis.

        Source: NATTEN 0.14.6, natten2d.py: zeros before qkv, so a padded key is qkv's bias and is attended to.
        """
        return pad_end(x, *(g - r for g, r in zip(self.whole, self.resolution, strict=True)))

    def shrink(self, x: Tensor) -> Tensor:
        """Take off what `grow` added to x [B, H, W, C]."""
        return x if self.whole == self.resolution else x[:, : self.resolution[0], : self.resolution[1]]

    def comb(self, x: Tensor) -> Tensor:
        """Part [B, H, W, C] into one map a remainder of rows and columns, [B*d*d, H/d, W/d, C] of dilation d.

        Source: NATTEN 0.14.6, natten_commons.cuh, get_window_start: a window holds positions of one remainder alone.
        """
        if self.dilation == 1:
            return x
        (rows, cols), step, dim = self.whole, self.dilation, x.shape[3]
        x = x.reshape(-1, rows // step, step, cols * dim).transpose(1, 2)  # [B, d, H/d, W*C]
        x = x.reshape(-1, rows // step, cols // step, step, dim).permute(0, 3, 1, 2, 4)  # [B*d, d, H/d, W/d, C]
        return x.reshape(-1, rows // step, cols // step, dim)

    def uncomb(self, x: Tensor) -> Tensor:
        """Join the maps that `comb` made to [B, H, W, C]."""
        if self.dilation == 1:
            return x
        (rows, cols), step, dim = self.whole, self.dilation, x.shape[3]
        x = x.reshape(-1, step, rows // step, cols // step, dim).permute(0, 2, 3, 1, 4)  # [B*d, H/d, W/d, d, C]
        x = x.reshape(-1, step, rows // step, cols * dim).transpose(1, 2)  # [B, H/d, d, W*C]
        return x.reshape(-1, rows, cols, dim)

    def keys(self, x: Tensor) -> Tensor:
        """Every tile with its margin, zeros around the map: [B, H, W, C] -> [B*T, Nk, C]."""
        (rows, cols), (th, tw), (top, left), dim = self.grown, self.queries.size, self.margin, x.shape[3]
        down, across = (-(-side // t) + bool(m) for side, t, m in zip(self.grown, (th, tw), self.margin, strict=True))
        if (down * th, across * tw) != (rows, cols):
            x = functional.pad(x, (0, 0, left, across * tw - left - cols, top, down * th - top - rows))
        x = _overlap(x.reshape(-1, down, th, across * tw * dim), 2 * top)  # [B, tiles, th + 2m, W*C]
        x = _overlap(x.reshape(-1, across, tw, dim), 2 * left)  # [B*tiles*(th + 2m), tiles, tw + 2m, C]
        rows, cols = th + 2 * top, tw + 2 * left
        if not left:  # one tile across
            return x.reshape(-1, rows * cols, dim)
        return x.reshape(-1, rows, across - 1, cols * dim).transpose(1, 2).reshape(-1, rows * cols, dim)

    def index(self) -> Tensor:
        """Row of a head's flat position table for each query and key of a tile, int64 [Nq, Nk]."""
        span = 2 * self.kernel_size - 1
        rows, cols = (
            (torch.arange(t + 2 * m) - m - torch.arange(t)[:, None] + self.kernel_size - 1).clamp(0, span - 1)
            for t, m in zip(self.queries.size, self.margin, strict=True)
        )  # [t, t + 2m] each
        return _pairs(rows * span, cols, torch.add)

    def mask(self) -> Tensor:
        """Mask that keeps a query to its own window, [T, Nq, Nk]: 0 inside, MASKED outside.

        Example, one axis of 6 positions, k = 3 (- is outside): a border moves the window inwards.

            query 0    0 0 0 - - -     starts at clamp(0 - 1, 0, 3) = 0
            query 1    0 0 0 - - -
            query 2    - 0 0 0 - -
            query 5    - - - 0 0 0     starts at clamp(5 - 1, 0, 3) = 3
        """
        axes = zip(self.grown, self.queries.size, self.queries.padded, self.margin, strict=True)
        rows, cols = (self._inside(*axis) for axis in axes)
        tiles = [_pairs(row, col, torch.logical_and) for row in rows for col in cols]
        return torch.stack(tiles).logical_not().float() * MASKED

    def _inside(self, side: int, tile: int, padded: int, margin: int) -> Tensor:
        """Whether a key is in a query's window along one axis, [tiles, t, t + 2m]."""
        query = torch.arange(padded).reshape(-1, tile)  # [tiles, t]
        start = (query - self.kernel_size // 2).clamp(0, side - self.kernel_size)[:, :, None]
        key = query[:, :1, None] - margin + torch.arange(tile + 2 * margin)  # [tiles, 1, t + 2m]
        return (key >= start) & (key < start + self.kernel_size)


def _overlap(blocks: Tensor, margin: int) -> Tensor:
    """Append to each block the first `margin` entries of the next: [M, n, t, C] -> [M, n - 1, t + margin, C].

    Example, margin 1, with n = 3 blocks of t = 2 entries:

        Given   ab | cd | ef
        Result  abc | cde
    """
    return torch.cat((blocks[:, :-1], blocks[:, 1:, :margin]), dim=2) if margin else blocks


def _pairs(rows: Tensor, cols: Tensor, join) -> Tensor:  # type: ignore[no-untyped-def]
    """join(row, column) for each (query, key) of a tile: rows [th, kh], cols [tw, kw] -> [Nq, Nk]."""
    pairs = join(rows[:, None, :, None], cols[None, :, None, :])  # [th, tw, kh, kw]
    return pairs.flatten(2).flatten(0, 1)


def grown(resolution: tuple[int, int], kernel_size: int, dilation: int) -> tuple[int, int]:
    """Rows and columns of a map after it is padded to hold one neighbourhood.

    Source: SHI-Labs/Neighborhood-Attention-Transformer d334f5b, NATTEN 0.14.6, natten2d.py: k times the dilation.
    """
    least = kernel_size * dilation
    return max(resolution[0], least), max(resolution[1], least)


def tile_side(side: int, kernel_size: int) -> int:
    """Side of a tile along an axis: all of a short axis, else the side with the fewest products.

    A tile is no shorter than its margins together, so that two blocks hold all three; the last tile may reach over the
    map's end, but only so far that its margin still holds the window of its last query.
    """
    least, half = max(SMALLEST_TILE, kernel_size - 1), kernel_size // 2
    if side <= max(LARGEST_WHOLE, least):
        return side
    fitting = (tile for tile in range(least, side + 1) if side % tile == 0 or side % tile > half)
    return min(fitting, key=lambda tile: (side + -side % tile) * (tile + 2 * half))


def attend(q: Tensor, k: Tensor, v: Tensor, tiles: Tiles, heads: int, bias: Tensor, mask: Tensor) -> Tensor:
    """Attend within each tile, softmax(q kT + bias + mask) v: [B, H, W, C] -> [B, H, W, C].

    Args:
        q: scaled queries [B, H, W, C].
        k: keys, like q.
        v: values, like q.
        tiles: how to cut them.
        heads: number of heads nH.
        bias: [nH, Nq, Nk].
        mask: [T, Nq, Nk].
    """
    count, tokens, seen = mask.shape
    width = q.shape[3] // heads
    q, k, v = tiles.comb(q), tiles.comb(k), tiles.comb(v)
    q = tiles.queries.cut(q).reshape(-1, tokens, heads, width).transpose(1, 2)  # [B*T, nH, Nq, d]
    k, v = (tiles.keys(part).reshape(-1, seen, heads, width).transpose(1, 2) for part in (k, v))  # [B*T, nH, Nk, d]
    logits = q @ k.transpose(-2, -1)
    if count == 1:
        logits = logits + (bias + mask)  # constants of [nH, Nq, Nk]: one addition when exported
    else:
        logits = (logits + bias).reshape(-1, count, heads, tokens, seen) + mask[:, None]  # [B, T, nH, Nq, Nk]
    attention = logits.reshape(-1, heads, tokens, seen).softmax(dim=-1)
    out = (attention @ v).transpose(1, 2).reshape(-1, tokens, heads * width)
    return tiles.shrink(tiles.uncomb(tiles.queries.join(out)))
