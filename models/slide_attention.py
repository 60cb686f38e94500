r"""Slide attention: local attention whose shifts are depthwise convolutions.

Of one head with d channels, for the k*k taps o of the neighbourhood (Slide-Transformer, CVPR 2023, section 4; upstream
LeapLabTHU/Slide-Transformer 6b1e184, slide_transformer/models/slide_swin.py, SlideAttention):

    K_o[c] = (shift_o + learned_o)(k)[c] + R[o]         V_o[c] = (shift_o + learned_o)(v)[c]
    a      = softmax over o of  sum_c q[c] K_o[c]       out[c] = sum_o a_o V_o[c]

Zero padding is not masked: a tap outside the map takes part with its convolution's bias.
"""

import copy

import torch
from torch import Tensor, nn

from .family import ShapeError
from .layers import Mlp


class TwoPaths(nn.Module):
    """What train-time slide attention has: a shift convolution beside a learned one, for keys, values and every head.

    Fusing makes one convolution of them. What that one has to compute is told here, so that it can be certified.
    """

    dep_conv: nn.Conv2d
    dep_conv1: nn.Conv2d
    width: int
    kernel_size: int

    def keys(self, k: Tensor) -> Tensor:
        """Keys of every tap: k [B*nH, d, H, W] -> [B*nH, d*k*k, H, W]."""
        return self.dep_conv(k) + self.dep_conv1(k)

    def values(self, v: Tensor) -> Tensor:
        """Values of every tap: v [B*nH, d, H, W] -> [B*nH, d*k*k, H, W]."""
        return self.dep_conv(v) + self.dep_conv1(v)

    def drift(self) -> float:
        """Largest distance of the stored shift path from the pure shift: 0 where training left it alone."""
        return float((self.dep_conv.weight - shift_kernel(self.width, self.kernel_size)).abs().max())


class SlideAttention(TwoPaths):
    """The train-time form: a shift convolution `dep_conv` beside a learned one `dep_conv1`, for k, v and every head.

    Args:
        dim: channels C.
        heads: number of heads nH; d = C / nH.
        kernel_size: side k of the neighbourhood, odd (upstream `ka`).

    Raises:
        ShapeError: the neighbourhood has no middle, or only that.
    """

    def __init__(self, dim: int, heads: int, kernel_size: int = 3) -> None:
        super().__init__()
        refuse_side(kernel_size)
        self.heads, self.width, self.kernel_size = heads, dim // heads, kernel_size
        self.scale = self.width**-0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.dep_conv = self._depthwise()
        self.dep_conv1 = self._depthwise()
        self.relative_position_bias_table = nn.Parameter(
            nn.init.trunc_normal_(torch.empty(1, heads, 1, kernel_size**2, 1, 1), std=0.02)
        )
        self.dep_conv.weight = nn.Parameter(shift_kernel(self.width, kernel_size), requires_grad=False)

    def _depthwise(self) -> nn.Conv2d:
        taps = self.kernel_size**2
        return nn.Conv2d(self.width, self.width * taps, self.kernel_size, padding="same", groups=self.width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend to the k*k neighbours: [B, H, W, C] -> [B, H, W, C]."""
        q, k, v = head_maps(self.qkv(x), self.heads)
        table = self.relative_position_bias_table
        return self.proj(slide(q * self.scale, self.keys(k), self.values(v), table, x.shape))

    def fuse(self) -> "FusedSlideAttention":
        """Inference form, from the stored tensors of both paths: the shift path may have been trained."""
        table = self.relative_position_bias_table
        return FusedSlideAttention(self.qkv, self.proj, merged(self.dep_conv, self.dep_conv1), table, self.scale)

    reparameterize = fuse


class LepeSlideAttention(SlideAttention):
    """Slide attention plus LePE, a depthwise 3x3 convolution `get_v` of the values, every channel with its own kernel.

    The weights of the taps sum to one, so LePE may as well be added to the values of every tap: the inference form has
    no third path, only values with a convolution of their own.
    """

    def __init__(self, dim: int, heads: int, kernel_size: int = 3) -> None:
        super().__init__(dim, heads, kernel_size)
        self.get_v = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """Attend to the k*k neighbours and add LePE: [B, H, W, C] -> [B, H, W, C]."""
        _, rows, cols, dim = x.shape
        q, k, v = head_maps(self.qkv(x), self.heads)
        lepe = self.get_v(v.reshape(-1, dim, rows, cols)).permute(0, 2, 3, 1)
        table = self.relative_position_bias_table
        return self.proj(slide(q * self.scale, self.keys(k), super().values(v), table, x.shape) + lepe)

    def values(self, v: Tensor) -> Tensor:
        """Values of every tap with LePE added to each: v [B*nH, d, H, W] -> [B*nH, d*k*k, H, W].

        The softmax weights of a query sum to 1, so LePE added to every tap's value is LePE added to the result.
        """
        _, width, rows, cols = v.shape
        lepe = self.get_v(v.reshape(-1, width * self.heads, rows, cols)).reshape(v.shape)
        return super().values(v) + lepe.repeat_interleave(self.kernel_size**2, dim=1)

    def fuse(self) -> "FusedSlideAttention":
        """Inference form, with LePE merged into the convolution of the values."""
        shared = merged(self.dep_conv, self.dep_conv1)
        values = merged(*(every_head(path, self.heads) for path in (self.dep_conv, self.dep_conv1)), self._lepe_taps())
        return FusedSlideAttention(
            self.qkv, self.proj, shared, self.relative_position_bias_table, self.scale, value_conv=values
        )

    def _lepe_taps(self) -> nn.Conv2d:
        """LePE as a depthwise convolution that repeats it for every tap, its 3x3 kernel padded to k x k."""
        margin, taps = self.kernel_size // 2 - 1, self.kernel_size**2
        every_tap = every_head(self.dep_conv, self.heads)
        kernel = nn.functional.pad(self.get_v.weight.detach(), (margin,) * 4)
        with torch.no_grad():
            every_tap.weight.copy_(kernel.repeat_interleave(taps, dim=0))
            every_tap.bias.copy_(self.get_v.bias.repeat_interleave(taps))  # type: ignore[union-attr]  # it has one
        return every_tap

    reparameterize = fuse


class FusedSlideAttention(nn.Module):
    """The inference form: both paths in one depthwise convolution.

    A lowering reads: `qkv` (rows head by head: q, k, v of one head after the other, upstream's order), `proj`,
    `dep_conv` with weight [d*k*k, 1, k, k] (output channel c*k*k + o), `relative_position_bias` [nH, k*k], `scale` and
    `value_conv`, with weight [nH*d*k*k, 1, k, k], where values do not share the keys' convolution.

    Args:
        qkv: from C channels to 3 * nH * d.
        proj: from nH * d channels to C.
        dep_conv: of one head's d channels; it serves keys and every head.
        table: bias of each head and tap [1, nH, 1, k*k, 1, 1].
        scale: what the queries are multiplied by.
        value_conv: of all heads' channels; None where `dep_conv` serves values too.
    """

    relative_position_bias: Tensor

    def __init__(
        self,
        qkv: nn.Linear,
        proj: nn.Linear,
        dep_conv: nn.Conv2d,
        table: Tensor,
        scale: float,
        *,
        value_conv: nn.Conv2d | None = None,
    ) -> None:
        super().__init__()
        self.heads, self.width, self.kernel_size = table.shape[1], dep_conv.groups, dep_conv.kernel_size[0]
        self.scale, self.qkv, self.proj, self.dep_conv, self.value_conv = scale, qkv, proj, dep_conv, value_conv
        self.register_buffer("relative_position_bias", table.detach().reshape(self.heads, -1))

    def forward(self, x: Tensor) -> Tensor:
        """Same function, both paths in one convolution: [B, H, W, C] -> [B, H, W, C]."""
        batch, rows, cols, _ = x.shape
        q, k, v = head_maps(self.qkv(x), self.heads)
        table = self.relative_position_bias.reshape(1, self.heads, 1, -1, 1, 1)
        shape = torch.Size((batch, rows, cols, self.heads * self.width))
        return self.proj(slide(q * self.scale, self.keys(k), self.values(v), table, shape))

    def keys(self, k: Tensor) -> Tensor:
        """Keys of every tap: k [B*nH, d, H, W] -> [B*nH, d*k*k, H, W]."""
        return self.dep_conv(k)

    def values(self, v: Tensor) -> Tensor:
        """Values of every tap: v [B*nH, d, H, W] -> [B*nH, d*k*k, H, W]."""
        if self.value_conv is None:
            return self.dep_conv(v)
        _, width, rows, cols = v.shape
        taps = self.value_conv(v.reshape(-1, self.heads * width, rows, cols))
        return taps.reshape(-1, width * self.kernel_size**2, rows, cols)


def merged(*paths: nn.Conv2d) -> nn.Conv2d:
    """Sum of convolutions of one shape as one convolution, summed in float64 and rounded once."""
    one = copy.deepcopy(paths[0])
    with torch.no_grad():
        one.weight.copy_(torch.stack([path.weight.double() for path in paths]).sum(dim=0))
        one.bias.copy_(torch.stack([path.bias.double() for path in paths]).sum(dim=0))  # type: ignore[union-attr]
    return one


def refuse_side(kernel_size: int) -> None:
    """Refuse a neighbourhood without a middle, or of a middle alone.

    Raises:
        ShapeError: its side is even or below 3.
    """
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise ShapeError(f"a neighbourhood of side {kernel_size}, where slide attention needs an odd one from 3 on")


def every_head(conv: nn.Conv2d, heads: int) -> nn.Conv2d:
    """Depthwise convolution of one head's channels, repeated for all heads: [d*k*k, 1, k, k] -> [nH*d*k*k, 1, k, k]."""
    with torch.device("meta"):
        wide = nn.Conv2d(
            conv.in_channels * heads,
            conv.out_channels * heads,
            conv.kernel_size,  # type: ignore[arg-type]  # square: two numbers
            padding="same",
            groups=conv.groups * heads,
        )
    wide.weight = nn.Parameter(conv.weight.detach().repeat(heads, 1, 1, 1), requires_grad=False)
    wide.bias = nn.Parameter(conv.bias.detach().repeat(heads), requires_grad=False)  # type: ignore[union-attr]
    return wide


class SlideBlock(nn.Module):
    """Pre-norm block: slide attention, then an MLP, each with a residual."""

    def __init__(self, dim: int, heads: int, kernel_size: int, mlp_ratio: float, *, lepe: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = (LepeSlideAttention if lepe else SlideAttention)(dim, heads, kernel_size)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """Slide attention and MLP with residuals: [B, H, W, C] -> [B, H, W, C]."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def shift_kernel(channels: int, kernel_size: int) -> Tensor:
    """One-hot kernel [channels*k*k, 1, k, k]: output channel c*k*k + o is channel c shifted by tap o.

    Source: upstream SlideAttention, `dep_conv.weight`; row o // k, column o % k.
    """
    taps = kernel_size**2
    return torch.eye(taps).repeat(channels, 1).reshape(channels * taps, 1, kernel_size, kernel_size)


def head_maps(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split qkv [B, H, W, 3C], in upstream's order (head, q|k|v, channel), into maps [B*nH, d, H, W]."""
    _, rows, cols, width = qkv.shape
    maps = qkv.permute(0, 3, 1, 2).reshape(-1, width // heads, rows, cols)  # [B*nH, 3d, H, W]
    q, k, v = maps.chunk(3, dim=1)
    return q, k, v


def slide(q: Tensor, k: Tensor, v: Tensor, table: Tensor, shape: torch.Size) -> Tensor:
    """Attend to the k*k taps of each position: softmax over o of (q . (K_o + r_o)), times V_o.

    Args:
        q: scaled queries [B*nH, d, H, W].
        k: keys of every tap [B*nH, d*k*k, H, W].
        v: values of every tap, like k.
        table: bias of each head and tap [1, nH, 1, k*k, 1, 1].
        shape: (B, H, W, C) of the result.
    """
    batch, rows, cols, dim = shape
    _, heads, _, taps, _, _ = table.shape
    q = q.reshape(batch, heads, dim // heads, 1, rows * cols)  # [B, nH, d, 1, HW]
    k, v = (part.reshape(batch, heads, dim // heads, taps, rows * cols) for part in (k, v))  # [B, nH, d, k*k, HW]
    logits = (q * (k + table.squeeze(-1))).sum(dim=2, keepdim=True)  # [B, nH, 1, k*k, HW]
    out = (logits.softmax(dim=3) * v).sum(dim=3)  # [B, nH, d, HW]
    return out.reshape(batch, dim, rows, cols).permute(0, 2, 3, 1)
