"""MViTv2's attention: queries, keys and values are pooled by depthwise convolutions, positions are relative.

Of one head, with pooled queries q of a map qh x qw and pooled keys k, values v of a map kh x kw (MViTv2, arXiv
2112.01526, section 3.1, equations 3 to 5):

    logits[(y, x), (i, j)] = d^-0.5 q[y, x] . k[i, j] + q[y, x] . Rh[y, i] + q[y, x] . Rw[x, j]
    out = softmax(logits) v + q

Rh and Rw are rows of two tables, looked up by a distance. Nothing of the lookup depends on the input, so for inference
they are constants, and all three sums are one product, whose keys end in a matrix of zeros and ones:

    Given   rel [Lq, kh + kw]: q . Rh of each row of keys beside q . Rw of each column
            E [kh + kw, kh * kw]: E[i, (i, *)] = 1, E[kh + j, (*, j)] = 1
    Result  logits [Lq, kh * kw] = [d^-0.5 q | rel] @ [k | E^T]^T = d^-0.5 q @ k^T + rel @ E

Source: facebookresearch/mvit dfbdfdf, mvit/models/attention.py, MultiScaleAttention and cal_rel_pos_spatial.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .family import ShapeError

EPS = 1e-6  # of every norm
ROUNDING = 1e-4  # of distances in float32
KERNEL = 3  # of every pooling convolution, also where its stride is 1

Sides = tuple[int, int]


@dataclass(frozen=True)
class PoolingShape:
    """The numbers of one attention.

    Attributes:
        dim: channels that come in.
        width: channels C of queries, keys and values, and those that go out.
        heads: number of heads nH; d = C / nH.
        resolution: rows and columns of the map that comes in.
        q_stride: stride of the queries' pooling.
        kv_stride: stride of the keys' and the values' pooling.
        table_sides: rows and columns of the larger of both pooled maps, as upstream's tables count them.
    """

    dim: int
    width: int
    heads: int
    resolution: Sides
    q_stride: int
    kv_stride: int
    table_sides: Sides

    @property
    def q_sides(self) -> Sides:
        """Rows and columns of the pooled queries."""
        return pooled(self.resolution, self.q_stride)

    @property
    def kv_sides(self) -> Sides:
        """Rows and columns of the pooled keys and values."""
        return pooled(self.resolution, self.kv_stride)

    def refuse_missing_distances(self) -> None:
        """Refuse maps that do not fit their tables: upstream counts their rows and columns otherwise, rounded down.

        Raises:
            ShapeError: a distance is outside the tables, where upstream fails with an index error.
        """
        for q_side, k_side, side in zip(self.q_sides, self.kv_sides, self.table_sides, strict=True):
            largest = (q_side - 1) * max(k_side / q_side, 1.0) + (k_side - 1) * max(q_side / k_side, 1.0)
            if largest > 2 * side - 1 - ROUNDING:
                rows, cols = self.resolution
                raise ShapeError(
                    f"a map of {rows}x{cols}, whose distances of 0 to {largest:g} a table of {2 * side - 1} lacks: "
                    f"sides of the input that are multiples of 32 fit"
                )


class PoolingAttention(nn.Module):
    """The train-time form: one convolution for all heads of the queries, one of the keys and one of the values.

    Args:
        shape: its numbers.
        residual: whether the pooled queries are added to what comes out (upstream `RESIDUAL_POOLING`).

    Raises:
        ShapeError: a distance is outside the tables, where upstream fails with an index error.
    """

    rel_pos_h: Tensor
    rel_pos_w: Tensor
    index_h: Tensor
    index_w: Tensor

    def __init__(self, shape: PoolingShape, *, residual: bool = True) -> None:
        super().__init__()
        shape.refuse_missing_distances()
        self.shape, self.residual, self.head_width = shape, residual, shape.width // shape.heads
        self.scale = self.head_width**-0.5
        self.qkv = nn.Linear(shape.dim, 3 * shape.width)
        self.proj = nn.Linear(shape.width, shape.width)
        for name, stride in (("q", shape.q_stride), ("k", shape.kv_stride), ("v", shape.kv_stride)):
            self.add_module(f"pool_{name}", depthwise(self.head_width, stride))
            self.add_module(f"norm_{name}", nn.LayerNorm(self.head_width, eps=EPS))
        for axis, name in enumerate("hw"):
            table = torch.empty(2 * shape.table_sides[axis] - 1, self.head_width)
            index = distances(shape.q_sides[axis], shape.kv_sides[axis])
            self.register_parameter(f"rel_pos_{name}", nn.Parameter(nn.init.trunc_normal_(table, std=0.02)))
            self.register_buffer(f"index_{name}", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attend from pooled to pooled positions of x [B, H, W, dim], to [B, qh, qw, C]."""
        (qh, qw), (kh, kw) = self.shape.q_sides, self.shape.kv_sides
        q, k, v = (
            self._pooled(part, name) for part, name in zip(self.qkv(x).chunk(3, dim=-1), "qkv", strict=True)
        )  # [B*nH, L, d] each
        logits = ((q * self.scale) @ k.transpose(1, 2)).reshape(-1, qh, qw, kh, kw)
        by_row = q.reshape(-1, qh, qw, self.head_width)  # [B*nH, qh, qw, d]
        rows = by_row @ self.rel_pos_h[self.index_h].transpose(1, 2)  # [B*nH, qh, qw, kh]
        cols = (by_row.transpose(1, 2) @ self.rel_pos_w[self.index_w].transpose(1, 2)).transpose(1, 2)
        logits = logits + rows[..., None] + cols[:, :, :, None]
        out = logits.reshape(-1, qh * qw, kh * kw).softmax(dim=-1) @ v
        return self.proj(heads_together(out + q if self.residual else out, self.shape))

    def _pooled(self, part: Tensor, name: str) -> Tensor:
        """Pool and norm every head of queries, keys or values [B, H, W, C], to [B*nH, L, d]."""
        _, rows, cols, _ = part.shape
        maps = part.reshape(-1, rows * cols, self.shape.heads, self.head_width).permute(0, 2, 3, 1)  # [B, nH, d, HW]
        maps = self.get_submodule(f"pool_{name}")(maps.reshape(-1, self.head_width, rows, cols))  # [B*nH, d, h, w]
        return self.get_submodule(f"norm_{name}")(maps.flatten(2).transpose(1, 2))

    def fuse(self) -> "FusedPoolingAttention":
        """Make the inference form, which shares the weights that stay as they are."""
        return FusedPoolingAttention(self)

    reparameterize = fuse


class FusedPoolingAttention(nn.Module):
    """The inference form: each convolution takes every head, the scale is in the keys' norm, positions are constants.

    Queries, keys and values are parted before they become maps: OpenVINO parts a map of all three by copying it.
    """

    rows: Tensor
    cols: Tensor
    places: Tensor

    def __init__(self, trained: PoolingAttention) -> None:
        super().__init__()
        self.shape, self.residual = trained.shape, trained.residual
        self.qkv, self.proj = trained.qkv, trained.proj
        self.norm_q, self.norm_v = trained.get_submodule("norm_q"), trained.get_submodule("norm_v")
        self.norm_k = scaled(trained.get_submodule("norm_k"), trained.scale)
        self.pools = nn.ModuleList(
            every_head(trained.get_submodule(f"pool_{name}"), self.shape.heads) for name in "qkv"
        )
        rows = trained.rel_pos_h.detach()[trained.index_h].transpose(1, 2)  # [qh, d, kh]
        cols = trained.rel_pos_w.detach()[trained.index_w].transpose(1, 2)  # [qw, d, kw]
        self.register_buffer("rows", rows.contiguous())
        self.register_buffer("cols", cols.contiguous())
        places = spread(*self.shape.kv_sides).to(rows).T  # [Lk, kh + kw]
        self.register_buffer("places", functional.pad(places, (trained.head_width, 0)))  # [Lk, d + kh + kw]

    def forward(self, x: Tensor) -> Tensor:
        """Attend from pooled to pooled positions of x [B, H, W, dim], to [B, qh, qw, C]."""
        (qh, qw), (kh, kw), width = self.shape.q_sides, self.shape.kv_sides, self.shape.width // self.shape.heads
        q, k, v = (part.reshape(-1, width, part.shape[2] * part.shape[3]) for part in self._maps(x))  # [B*nH, d, L]
        q, k, v = self.norm_q(q.transpose(1, 2)), self.norm_k(k.transpose(1, 2)), self.norm_v(v.transpose(1, 2))
        by_row = q.reshape(-1, qh, qw, width)  # [B*nH, qh, qw, d]
        beside = (by_row, by_row @ self.rows, (by_row.transpose(1, 2) @ self.cols).transpose(1, 2))
        queries = torch.cat(beside, dim=-1).reshape(-1, qh * qw, width + kh + kw)
        keys = functional.pad(k, (0, kh + kw)) + self.places  # [B*nH, Lk, d + kh + kw]
        out = (queries @ keys.transpose(1, 2)).softmax(dim=-1) @ v
        return self.proj(heads_together(out + q if self.residual else out, self.shape))

    def _maps(self, x: Tensor) -> Iterator[Tensor]:
        """Pool queries, keys and values of x [B, H, W, dim], each to [B, C, h, w]."""
        parts = self.qkv(x).split(self.shape.width, dim=-1)
        return (pool(part.permute(0, 3, 1, 2)) for pool, part in zip(self.pools, parts, strict=True))


def heads_together(out: Tensor, shape: PoolingShape) -> Tensor:
    """Put the heads of [B*nH, L, d] beside each other, to [B, qh, qw, C]."""
    rows, cols = shape.q_sides
    by_head = out.reshape(-1, shape.heads, rows * cols, shape.width // shape.heads)  # [B, nH, L, d]
    return by_head.transpose(1, 2).reshape(-1, rows, cols, shape.width)


def pooled(resolution: Sides, stride: int) -> Sides:
    """Rows and columns after a 3x3 convolution or pooling of that stride with one zero around the map."""
    return -(-resolution[0] // stride), -(-resolution[1] // stride)


def distances(q_side: int, k_side: int) -> Tensor:
    """Rows of a table for each query (row) and key (column) of an axis, int64 [q_side, k_side].

    Source: cal_rel_pos_spatial: in float32, and cut toward zero, which matters where neither side is a multiple of the
    other.
    """
    q_step, k_step = max(k_side / q_side, 1.0), max(q_side / k_side, 1.0)
    distance = torch.arange(q_side)[:, None] * q_step - torch.arange(k_side)[None, :] * k_step
    return (distance + (k_side - 1) * k_step).long()


def spread(rows: int, cols: int) -> Tensor:
    """The matrix of zeros and ones that gives every key its row's and its column's value, [rows + cols, rows*cols]."""
    by_row = torch.eye(rows).repeat_interleave(cols, dim=1)  # [rows, rows*cols]
    return torch.cat((by_row, torch.eye(cols).repeat(1, rows)))


def depthwise(channels: int, stride: int) -> nn.Conv2d:
    """The convolution of a pooling, without a bias."""
    return nn.Conv2d(channels, channels, KERNEL, stride=stride, padding=KERNEL // 2, groups=channels, bias=False)


def every_head(convolution: nn.Module, heads: int) -> nn.Conv2d:
    """Make one convolution of all heads' channels out of the one that upstream runs on each head's."""
    if not isinstance(convolution, nn.Conv2d):
        raise TypeError(f"expected a Conv2d, found {type(convolution).__name__}")
    weight = convolution.weight.detach().repeat(heads, 1, 1, 1)
    with torch.device("meta"):
        together = depthwise(weight.shape[0], convolution.stride[0])
    together.weight = nn.Parameter(weight, requires_grad=False)
    return together


def scaled(norm: nn.Module, scale: float) -> nn.LayerNorm:
    """Make a LayerNorm whose outputs are another's times a factor."""
    if not isinstance(norm, nn.LayerNorm):
        raise TypeError(f"expected a LayerNorm, found {type(norm).__name__}")
    with torch.device("meta"):
        copy = nn.LayerNorm(norm.normalized_shape, eps=norm.eps)
    copy.weight = nn.Parameter(norm.weight.detach() * scale, requires_grad=False)
    copy.bias = nn.Parameter(norm.bias.detach() * scale, requires_grad=False)
    return copy
