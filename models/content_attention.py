"""BOAT's attention among tokens that are alike: clusters of 49 by balanced bisection, and 20 tokens of the neighbour.

The tokens of a head are halved until 49 are left. One level, on tokens in the order that the level before left them:

    c0, c1   unit means of the first and of the second half of the queries
    twice:   weights = softmax(100 * cos(q, c)) over the two;   c = unit sums of the queries by these weights
    key      (cos(q, c0) + 1) / (cos(q, c1) + 1), sorted ascending; the halves of the sorted order go on

So the order inside a cluster matters: to the next level's first means, and to which 20 tokens a cluster lends. Keys
that are equal up to rounding sort either way, each legitimately; `sorting.py` says what a proof makes of that.

Source: mahaoyuHKU/pytorch-boat b94a66c, BOAT-Swin/models/boat_swin_transformer.py, ContentAttention, which
BOAT-CSWin/models/cswin_boat.py has with scale 1; Yu et al., arXiv 2201.13027, section 3.2.
"""

import math

import torch
from torch import Tensor, nn

from .family import ShapeError
from .layers import unit
from .sorting import Sorted, Sorting, ascending
from .window_attention import linear, split_heads

CLUSTER = 49  # tokens of a cluster
REACH = 69  # tokens that a cluster attends to: its own, and 20 of the other cluster of its pair
SHARPNESS = 100.0
PASSES = 2  # of weighing and averaging, a level


class ContentAttention(nn.Module):
    """Multi-head attention inside clusters of similar tokens, plus a depthwise convolution of the values.

    Where the whole map is one cluster there is nothing to sort, and the pair is made of two images of the batch.

    Args:
        dim: channels C.
        heads: number of heads nH.
        resolution: rows and columns of the map, N tokens.
        scale: of the logits; None for d^-0.5.

    Raises:
        ShapeError: the tokens cannot be halved into clusters of 49.
    """

    def __init__(self, dim: int, heads: int, resolution: tuple[int, int], scale: float | None = None) -> None:
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5 if scale is None else scale
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.get_v = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.levels = levels(resolution)
        self.bisection = Bisection(self.levels)

    def forward(self, x: Tensor) -> Tensor:
        """The attended map, [B, H, W, C] for x [B, H, W, C]."""
        return self.proj(attend(self, self.qkv(x), self.scale))

    def fuse(self) -> "FusedContentAttention":
        """This layer's inference form, sharing the weights that stay as they are."""
        return FusedContentAttention(self)

    reparameterize = fuse


class FusedContentAttention(nn.Module):
    """The inference form: the scale is folded into the keys, because the queries are sorted by as they are."""

    def __init__(self, trained: ContentAttention) -> None:
        super().__init__()
        self.heads, self.levels, self.bisection = trained.heads, trained.levels, trained.bisection
        self.qkv = trained.qkv if trained.scale == 1 else _scale_keys(trained.qkv, trained.scale)
        self.proj, self.get_v = trained.proj, trained.get_v

    def forward(self, x: Tensor) -> Tensor:
        """The attended map, [B, H, W, C] for x [B, H, W, C]."""
        return self.proj(attend(self, self.qkv(x), 1.0))


class Bisection(Sorting):
    """Sorts the tokens of each head into clusters, so that every 49 in a row are one.

    Args:
        levels: how often the tokens are halved; each level is a round, which sorts the halves of the level before.
    """

    def __init__(self, levels: int) -> None:
        super().__init__(CLUSTER << levels, [1 << level for level in range(levels)])

    def forward(self, q: Tensor) -> Sorted:
        """The order after each level and the keys that it sorted by, for queries [B, nH, N, d]."""
        heads, width, tokens = q.shape[1], q.shape[3], CLUSTER << len(self.parts)
        flat = q.reshape(-1, tokens, width)  # [G, N, d], G = B * nH
        arranged, order, orders, keys = flat, None, [], []
        for level, sort in enumerate(self.rounds):
            size = tokens >> level
            key = sort_keys(arranged.reshape(-1, size, width), size)  # [G * 2^level, size]
            if self.told is not None:
                order = self.told[level]
                arranged = _rows(flat, order.reshape(-1, tokens))
            else:
                places, order = sort(key, order, heads)
                arranged = _rows(arranged.reshape(-1, size, width), places)
            orders.append(order)
            keys.append(key.reshape(-1, heads, tokens))
        return tuple(orders), tuple(keys)


def sort_keys(q: Tensor, size: int) -> Tensor:
    """What n = `size` tokens are halved by, [G, n], for the queries [G, n, d] of G groups in their present order."""
    directions = unit(q)
    centres = unit(q.reshape(-1, 2, size // 2, q.shape[2]).mean(dim=2))  # [G, 2, d]
    for _ in range(PASSES):
        weights = (directions @ centres.transpose(1, 2) * SHARPNESS).softmax(dim=-1)  # [G, n, 2]
        centres = unit(weights.transpose(1, 2) @ q)
    first, second = (directions @ centres.transpose(1, 2)).split(1, dim=-1)  # [G, n, 1]; an index would become a Gather
    return ((first + 1) / (second + 1)).reshape(-1, size)


def attend(attention: ContentAttention | FusedContentAttention, qkv: Tensor, scale: float) -> Tensor:
    """The attention's result before its projection, [B, H, W, C], for qkv [B, H, W, 3C]."""
    dim, heads, tokens = attention.proj.in_features, attention.heads, CLUSTER << attention.levels
    side = math.isqrt(tokens)
    q, k, v = split_heads(qkv.reshape(-1, tokens, 3 * dim), heads)  # [B, nH, N, d]
    orders, _ = attention.bisection(q)
    stacked = torch.cat((q * scale if scale != 1 else q, k, v), dim=-1)  # [B, nH, N, 3d]
    if orders:
        order = orders[-1]
        out = _within_clusters(_rows_of_heads(stacked, order).reshape(-1, tokens // 98, 98, 3 * dim // heads))
        out = _rows_of_heads(out.reshape(-1, heads, tokens, dim // heads), _inverse(order, tokens))
    else:
        out = _across_images(stacked)
    out = out.transpose(1, 2).reshape(-1, side, side, dim)
    values = v.transpose(2, 3).reshape(-1, dim, side, side)  # [B, C, H, W]
    return out + attention.get_v(values).permute(0, 2, 3, 1)


def _within_clusters(pairs: Tensor) -> Tensor:
    """Attention of each cluster to itself and the nearest 20 of its pair, [G, P, 98, d] for qkv [G, P, 98, 3d].

    tokens of a pair   0 ............ 28 29 ..... 48 | 49 ..... 68 69 ............ 97
    first cluster      queries 0..48, keys 0..68
    second cluster                    keys 29..97            queries 49..97
    """
    q, k, v = pairs.chunk(3, dim=-1)
    first = _softmax(q[:, :, :CLUSTER], k[:, :, :REACH], v[:, :, :REACH])
    second = _softmax(q[:, :, CLUSTER:], k[:, :, -REACH:], v[:, :, -REACH:])
    return torch.cat((first, second), dim=2)


def _across_images(qkv: Tensor) -> Tensor:
    """The same where an image is one cluster, [B, nH, 49, d] for qkv [B, nH, 49, 3d]: images 2m and 2m+1 are a pair.

    Raises:
        ShapeError: an image of the batch has no partner.
    """
    batch, heads, _, width = qkv.shape
    if batch % 2:
        raise ShapeError(f"a batch of {int(batch)}, where each two images attend to each other: expected an even batch")
    ones, others = (
        part.reshape(-1, heads, CLUSTER, width) for part in qkv.reshape(-1, 2, heads, CLUSTER * width).split(1, dim=1)
    )
    out = _within_clusters(torch.cat((ones, others), dim=2))  # [B/2, nH, 98, d]
    halves = [part.reshape(-1, 1, heads, CLUSTER * width // 3) for part in out.split(CLUSTER, dim=2)]
    return torch.cat(halves, dim=1).reshape(-1, heads, CLUSTER, width // 3)


def _softmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-2, -1)).softmax(dim=-1) @ v


def _rows(x: Tensor, places: Tensor) -> Tensor:
    """Rows of x [G, n, d] at places [G, n]."""
    return x.gather(1, places.unsqueeze(-1).repeat(1, 1, x.shape[-1]))


def _rows_of_heads(x: Tensor, order: Tensor) -> Tensor:
    """Tokens of x [B, nH, N, d] at order [B, nH, N]."""
    return x.gather(2, order.unsqueeze(-1).repeat(1, 1, 1, x.shape[-1]))


def _inverse(order: Tensor, tokens: int) -> Tensor:
    """The position of each token, for an order [B, nH, N] position -> token: sorted as integers, which never tie."""
    return ascending(order, tokens)


def _scale_keys(qkv: nn.Linear, scale: float) -> nn.Linear:
    """A copy of qkv whose second third of outputs, the keys, is multiplied by scale."""
    weight, bias = qkv.weight.detach().clone(), qkv.bias.detach().clone()
    keys = slice(qkv.out_features // 3, 2 * qkv.out_features // 3)
    weight[keys] *= scale
    bias[keys] *= scale
    return linear(weight, bias)


def levels(resolution: tuple[int, int]) -> int:
    """How often a map's tokens are halved until clusters of 49 are left.

    Source: `int(math.log(N // 49, 2))` halvings and a reshape by 49, so that only N = 49 * 4^k runs, on a square map.

    Raises:
        ShapeError: the map is none of these.
    """
    (rows, cols), side = resolution, math.isqrt(CLUSTER)
    if rows != cols or rows < side or rows % side or (rows // side) & (rows // side - 1):
        raise ShapeError(f"a map of {rows}x{cols}, where clusters of 49 need a square of side 7, 14, 28, 56, ...")
    return 2 * int(math.log2(rows // side))
