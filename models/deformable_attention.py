"""DAT's deformable attention: every query looks at the same few points of the map, which the queries themselves move.

Points stand on a grid of h x w over the map, at reference places r; an offset o of a point and a group of channels is
computed from the queries by a strided depthwise convolution, a LayerNorm, a GELU and a 1x1 convolution. Keys and values
are projections of the map sampled there, logits get a position bias looked up for the distance of query and point.
DAT (arXiv 2201.00520) and DAT++ (2309.01430) differ in every constant (f: offset factor, y' = y + 1/2):

                      DAT                            DAT++
    reference         2 y' / h - 1                   2 y' / (h - 1) - 1, so beyond 1 at the end
    point, f > 0      r + tanh(o) f / h              r + tanh(o) f / (h - 1)
    point, f = 0      r + o                          r
    point, f < 0      tanh(r + o)                    clamp(r + o, -1, 1)
    queries           2 y' / H - 1                   2 y / (H - 1) - 1
    without offsets   fails                          means of stride x stride pixels, and no position bias

References and queries' places are constants. Upstream makes them in the forward pass, in place, on a view
(`ref[..., 1].div_(...)`), which torch.jit.trace and the TorchScript exporter turn into another function without a word
(pytorch#95050).
Source: LeapLabTHU/DAT 566a593 (DAT) and 32173fc (DAT++), models/dat_blocks.py, DAttentionBaseline.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .family import ShapeError
from .layers import Numbered
from .sampling import FORMS, LOOKUPS, SAMPLERS
from .window_attention import linear

Sides = tuple[int, int]


@dataclass(frozen=True)
class DeformableShape:
    """The numbers of one deformable attention.

    Attributes:
        dim: channels C.
        heads: number of heads nH.
        resolution: rows and columns of the map.
        groups: of channels, each with offsets of its own.
        stride: of the grid of points.
        kernel: side of the convolution that makes offsets.
        factor: how far offsets reach, see above.
        table: rows and columns of the map that the position biases were made for; None: there are none.
        plus_plus: whether it is DAT++'s.
        still: whether the points do not move (upstream `no_off`).
    """

    dim: int
    heads: int
    resolution: Sides
    groups: int
    stride: int
    kernel: int
    factor: float
    table: Sides | None
    plus_plus: bool
    still: bool = False

    @property
    def padding(self) -> int:
        """Zeros around the map, of the convolution that makes offsets."""
        return 0 if self.plus_plus and self.kernel == self.stride else self.kernel // 2

    @property
    def grid(self) -> Sides:
        """Rows and columns of the grid of points."""
        rows, cols = ((side + 2 * self.padding - self.kernel) // self.stride + 1 for side in self.resolution)
        return rows, cols

    @property
    def biases(self) -> Sides:
        """Rows and columns of a head's table of position biases."""
        rows, cols = self.table or (0, 0)
        return 2 * rows - 1, 2 * cols - 1

    def refuse_misfits(self) -> None:
        """Refuse what upstream fails on, or computes NaN for.

        Raises:
            ShapeError: the map is too small, its table is another map's, or the points could only be still.
        """
        (rows, cols), (down, across) = self.resolution, self.grid
        if min(down, across) < 1:
            raise ShapeError(f"a map of {rows}x{cols}, on which no point of stride {self.stride} stands")
        if self.still and not self.plus_plus:
            raise ShapeError("a DAT whose points do not move, which upstream's code cannot run")
        if self.still and (down, across) != (rows // self.stride, cols // self.stride):
            raise ShapeError(f"a map of {rows}x{cols}, whose {down}x{across} points are not its means of {self.stride}")
        if self.table is not None and not self.plus_plus and self.table != self.resolution:
            raise ShapeError(
                f"a map of {rows}x{cols} with position biases for {self.table[0]}x{self.table[1]}: sides of the input "
                "that are multiples of 32 fit"
            )
        if self.plus_plus and not self.still and min(down, across, *(self.resolution if self.table else ())) < 2:
            raise ShapeError(f"a map of {rows}x{cols} with {down}x{across} points: DAT++ divides by a side less 1")


class DeformableAttention(nn.Module):
    """The train-time form.

    Args:
        shape: its numbers.

    Raises:
        ShapeError: they fit no attention that upstream can run.
    """

    references: Tensor
    reach: Tensor

    def __init__(self, shape: DeformableShape) -> None:
        super().__init__()
        shape.refuse_misfits()
        self.shape, self.scale = shape, (shape.dim // shape.heads) ** -0.5
        self.conv_offset = Offsets(shape)
        self.proj_q, self.proj_k, self.proj_v, self.proj_out = (Pointwise(shape.dim, shape.dim, 1) for _ in range(4))
        self.rpe_table = (
            None
            if shape.table is None
            else nn.Parameter(nn.init.trunc_normal_(torch.empty(shape.heads, *shape.biases), std=0.01))
        )
        self.register_buffer("references", references(shape), persistent=False)  # [S, 2]
        self.register_buffer("reach", reach(shape), persistent=False)  # [2]
        self.sampler, self.lookup = sampling(shape, "grid_sample")

    def forward(self, x: Tensor) -> Tensor:
        """Attend from every position of x [B, H, W, C] to the points, to the same shape."""
        q, bias = self.proj_q(x), None
        if self.shape.still:
            sampled = means(x, self.shape.stride)
        else:
            points = moved(self.conv_offset(q), self.references, self.reach, self.shape)  # [B, g, S, 2]
            sampled = self.sampler(x, points)  # [B, S, C]
            bias = None if self.lookup is None else self.lookup(by_group(self.rpe_table, self.shape), points)
        out = attend(q * self.scale, self.proj_k(sampled), self.proj_v(sampled), self.shape.heads, bias)
        return self.proj_out(out)

    def fuse(self) -> "FusedDeformableAttention":
        """Make the inference form, which shares the weights that stay as they are."""
        return FusedDeformableAttention(self)

    reparameterize = fuse


class FusedDeformableAttention(nn.Module):
    """The inference form: the scale is in the keys' projection, the offsets' convolution takes every group.

    Args:
        trained: the train-time form.
        form: how it samples, one of `sampling.FORMS`.
    """

    references: Tensor
    reach: Tensor
    table: Tensor | None

    def __init__(self, trained: DeformableAttention, form: str = "hats") -> None:
        super().__init__()
        self.shape, self.form = trained.shape, form
        projections = (trained.proj_q, trained.proj_k, trained.proj_v, trained.proj_out)
        factors = (1.0, trained.scale, 1.0, 1.0)
        self.proj_q, self.proj_k, self.proj_v, self.proj_out = (
            projection.as_linear(factor) for projection, factor in zip(projections, factors, strict=True)
        )
        self.offsets = None if self.shape.still else FusedOffsets(trained.conv_offset, self.shape)
        self.register_buffer("references", trained.references)
        self.register_buffer("reach", trained.reach)
        table = None if trained.rpe_table is None else by_group(trained.rpe_table.detach(), self.shape)
        self.register_buffer("table", table)
        self.sampler, self.lookup = sampling(self.shape, form)

    def forward(self, x: Tensor) -> Tensor:
        """Attend from every position of x [B, H, W, C] to the points, to the same shape."""
        q, bias = self.proj_q(x), None
        if self.offsets is None:
            sampled = means(x, self.shape.stride)
        else:
            points = moved(self.offsets(q), self.references, self.reach, self.shape)  # [B, g, S, 2]
            sampled = self.sampler(x, points)  # [B, S, C]
            bias = None if self.lookup is None else self.lookup(self.table, points)
        return self.proj_out(attend(q, self.proj_k(sampled), self.proj_v(sampled), self.shape.heads, bias))


def in_form(layer: FusedDeformableAttention, form: str) -> FusedDeformableAttention:
    """Make the same layer with another form of sampling; weights are shared, the layer is not changed.

    Args:
        layer: in any form.
        form: one of `sampling.FORMS`.

    Raises:
        KeyError: there is no such form.
    """
    if form not in FORMS:
        raise KeyError(form)
    other = FusedDeformableAttention.__new__(FusedDeformableAttention)
    nn.Module.__init__(other)
    other.shape, other.form, other.offsets = layer.shape, form, layer.offsets
    other.proj_q, other.proj_k, other.proj_v, other.proj_out = layer.proj_q, layer.proj_k, layer.proj_v, layer.proj_out
    for name in ("references", "reach", "table"):
        other.register_buffer(name, getattr(layer, name))
    other.sampler, other.lookup = sampling(layer.shape, form)
    return other.to(layer.references.dtype)


def by_group(table: Tensor | None, shape: DeformableShape) -> Tensor:
    """The tables of each group's own heads, [g, nH/g, rows, columns], of all heads' [nH, rows, columns].

    Raises:
        TypeError: there is no table.
    """
    if table is None:
        raise TypeError("expected a table of position biases, found none")
    return table.reshape(shape.groups, shape.heads // shape.groups, *shape.biases)


def sampling(shape: DeformableShape, form: str) -> tuple[nn.Module, nn.Module | None]:
    """Make what samples the map and what looks position biases up, None where there are none."""
    sampler = SAMPLERS[form](shape.resolution, shape.groups)
    if shape.table is None:
        return sampler, None
    return sampler, LOOKUPS[form](queries(shape), shape.biases, shape.heads, shape.groups)


class Offsets(Numbered):
    """What moves the points, of each group alike: convolution, LayerNorm, GELU, 1x1 convolution to rows and columns."""

    def __init__(self, shape: DeformableShape) -> None:
        width = shape.dim // shape.groups
        conv = nn.Conv2d(width, width, shape.kernel, shape.stride, shape.padding, groups=width)
        super().__init__((conv, ChannelNorm(width), nn.GELU(), Pointwise(width, 2, 1, bias=False)))
        self.groups = shape.groups

    def forward(self, q: Tensor, *_indices: int) -> Tensor:
        """Compute offsets [B, g, S, 2] of queries [B, H, W, C]."""
        conv, norm, activation, last = self.children()
        _, rows, cols, dim = q.shape
        maps = q.permute(0, 3, 1, 2).reshape(-1, dim // self.groups, rows, cols)  # [B*g, C/g, H, W]
        out = last(activation(norm(conv(maps).permute(0, 2, 3, 1))))  # [B*g, h, w, 2]
        return out.reshape(-1, self.groups, out.shape[1] * out.shape[2], 2)


class FusedOffsets(nn.Module):
    """The inference form of `Offsets`: one convolution takes all groups as they lie beside each other."""

    def __init__(self, trained: Offsets, shape: DeformableShape) -> None:
        super().__init__()
        conv, norm, _, last = trained.children()
        if not (isinstance(conv, nn.Conv2d) and isinstance(norm, ChannelNorm) and isinstance(last, Pointwise)):
            raise TypeError("expected a convolution, a norm and a 1x1 convolution that make offsets")
        self.groups, self.norm, self.last = shape.groups, norm.norm, last.as_linear()
        with torch.device("meta"):
            self.conv = nn.Conv2d(shape.dim, shape.dim, shape.kernel, shape.stride, shape.padding, groups=shape.dim)
        self.conv.weight = nn.Parameter(conv.weight.detach().repeat(shape.groups, 1, 1, 1), requires_grad=False)
        bias = conv.bias.detach().repeat(shape.groups)  # type: ignore[union-attr]  # it has one
        self.conv.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, q: Tensor) -> Tensor:
        """Compute offsets [B, g, S, 2] of queries [B, H, W, C]."""
        # As a matrix: of a permuted map OpenVINO 2026.4 makes a view of q, whose memory it gives away too soon.
        matrix = q.flatten(1, 2).transpose(1, 2)  # [B, C, H*W]
        maps = self.conv(matrix.unflatten(2, q.shape[1:3]))  # [B, C, h, w]
        count, width = maps.shape[2] * maps.shape[3], maps.shape[1] // self.groups
        out = self.norm(maps.reshape(-1, width, count).transpose(1, 2))  # [B*g, S, C/g]
        return self.last(functional.gelu(out)).reshape(-1, self.groups, count, 2)


class ChannelNorm(nn.Module):
    """LayerNorm over the channels, under the name that upstream's wrapper gives it (`LayerNormProxy`)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Norm x [..., C]."""
        return self.norm(x)


class Pointwise(nn.Conv2d):
    """A 1x1 convolution, applied to a map whose channels are last."""

    def forward(self, x: Tensor) -> Tensor:
        """Project x [..., inputs] to [..., outputs]."""
        return functional.linear(x, self.weight.flatten(1), self.bias)

    def as_linear(self, factor: float = 1.0) -> nn.Linear:
        """Make the linear layer that gives `factor` times the same."""
        weight = self.weight.detach().flatten(1) * factor
        if self.bias is not None:
            return linear(weight, self.bias.detach() * factor)
        with torch.device("meta"):
            layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        layer.weight = nn.Parameter(weight, requires_grad=False)
        return layer


def references(shape: DeformableShape) -> Tensor:
    """Places of the points before they move, [S, 2], rows first."""
    rows, cols = (
        centres(side, max(side - 1, 1) if shape.plus_plus else side) for side in shape.grid
    )  # a side of 1 is refused where it matters
    return torch.stack(torch.meshgrid(rows, cols, indexing="ij"), dim=-1).reshape(-1, 2).to(torch.get_default_dtype())


def queries(shape: DeformableShape) -> tuple[Tensor, Tensor]:
    """Places of the rows and of the columns of the queries, in float64."""
    if not shape.plus_plus:
        return centres(shape.resolution[0], shape.resolution[0]), centres(shape.resolution[1], shape.resolution[1])
    rows, cols = (torch.linspace(-1, 1, side, dtype=torch.float64) for side in shape.resolution)
    return rows, cols


def centres(side: int, length: int) -> Tensor:
    """Middles of pixels, 1/2 to side - 1/2, on an axis where `length` pixels reach from -1 to 1; in float64."""
    return (torch.arange(side, dtype=torch.float64) + 0.5) / length * 2 - 1


def reach(shape: DeformableShape) -> Tensor:
    """How far an offset can move a point, [2], where a factor bounds it."""
    ends = [max(side - 1, 1) if shape.plus_plus else side for side in shape.grid]
    return torch.tensor([shape.factor / end for end in ends])


def moved(offsets: Tensor, references: Tensor, reach: Tensor, shape: DeformableShape) -> Tensor:
    """Move the points from their references [S, 2] by offsets [B, g, S, 2]."""
    if shape.factor < 0:
        places = references + offsets
        return places.clamp(-1.0, 1.0) if shape.plus_plus else places.tanh()
    if shape.factor > 0 or shape.plus_plus:
        offsets = offsets.tanh() * reach
    return references + offsets


def means(x: Tensor, stride: int) -> Tensor:
    """Means of squares of x [B, H, W, C], to [B, S, C]."""
    pooled = functional.avg_pool2d(x.permute(0, 3, 1, 2), stride)
    return pooled.flatten(2).transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, bias: Tensor | None) -> Tensor:
    """Compute softmax(q kT + bias) v as [B, H, W, C], for q [B, H, W, C], k, v [B, S, C], bias [B, nH, H*W, S]."""
    _, rows, cols, dim = q.shape
    q = q.reshape(-1, rows * cols, heads, dim // heads).transpose(1, 2)  # [B, nH, HW, d]
    k, v = (part.reshape(-1, part.shape[1], heads, dim // heads).transpose(1, 2) for part in (k, v))  # [B, nH, S, d]
    logits = q @ k.transpose(-2, -1)  # [B, nH, HW, S]
    out = (logits if bias is None else logits + bias).softmax(dim=-1) @ v
    return out.transpose(1, 2).reshape(-1, rows, cols, dim)
