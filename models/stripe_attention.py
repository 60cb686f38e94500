"""CSwin's block: attention in stripes of the map, half of the channels in vertical and half in horizontal ones.

A stripe of one pixel's width needs no transpose and only the middle of its 3x3 kernel: the fused form keeps just that.
Source: microsoft/CSWin-Transformer f111ae2, models/cswin.py, LePEAttention and CSWinBlock.
"""

import torch
from torch import Tensor, nn

from .family import ShapeError
from .layers import Mlp
from .window_attention import OWN_RULE, WindowRule, Windows, linear, split_heads


class StripeAttention(nn.Module):
    """Multi-head attention inside each stripe plus LePE: a depthwise convolution of the values that sees one stripe.

    Args:
        dim: channels of this branch.
        heads: heads of this branch.
        windows: how the map is cut into stripes.
    """

    def __init__(self, dim: int, heads: int, windows: Windows) -> None:
        super().__init__()
        self.heads, self.windows, self.scale = heads, windows, (dim // heads) ** -0.5
        self.get_v = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend within each stripe and add LePE: q, k, v [B, H, W, C] -> [B, H, W, C]."""
        stripes = self.windows.cut(torch.cat((q * self.scale, k, v), dim=-1))  # [B*nW, N, 3C]
        return self.windows.join(attend(stripes, self.heads) + lepe(stripes, self.windows.size, self.get_v))


class FusedStripeAttention(nn.Module):
    """One branch with its own part of the qkv weights: x is cut into stripes before it is projected, not after."""

    def __init__(self, trained: StripeAttention, qkv: nn.Linear) -> None:
        super().__init__()
        self.heads, self.windows = trained.heads, trained.windows
        self.qkv, self.get_v = qkv, within(trained.get_v, trained.windows.size)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within this branch's stripes: [B, H, W, C] -> [B, H, W, C/2], or C channels where it is alone."""
        # Padding is zeros of queries, keys and values, not of what they are made of.
        padded = any(self.windows.padding)
        stripes = self.windows.cut(self.qkv(x)) if padded else self.qkv(self.windows.cut(x))  # [B*nW, N, 3C/2]
        return self.windows.join(attend(stripes, self.heads) + lepe(stripes, self.windows.size, self.get_v))


class StripeBlock(nn.Module):
    """Pre-norm block: cross-shaped stripe attention, then an MLP, each with a residual.

    Args:
        dim: channels C.
        heads: number of heads, over both branches.
        resolution: rows and columns of the map.
        stripe: width of a horizontal and of a vertical stripe; 0, 0 makes the map one window, of all channels.
        mlp_ratio: hidden width of the MLP over C.
        padded: whether zeros complete a map that stripes do not divide.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        resolution: tuple[int, int],
        stripe: tuple[int, int],
        mlp_ratio: float,
        *,
        padded: bool = False,
    ) -> None:
        super().__init__()
        sizes = stripes(resolution, stripe, padded=padded)
        rule = WindowRule("pad", centred=True) if padded else OWN_RULE
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.attns = nn.ModuleList(
            StripeAttention(dim // len(sizes), heads // len(sizes), Windows(resolution, size, shifted=False, rule=rule))
            for size in sizes
        )
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """Run the block: [B, H, W, C] -> [B, H, W, C]."""
        x = self.attend(x)
        return x + self.mlp(self.norm2(x))

    def attend(self, x: Tensor) -> Tensor:
        """Add the attention's result to x [B, H, W, C]."""
        parts = (part.chunk(len(self.attns), dim=-1) for part in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        branches = [attention(*qkv) for attention, qkv in zip(self.attns, zip(*parts, strict=True), strict=True)]
        return x + self.proj(torch.cat(branches, dim=-1))

    def fuse(self) -> "FusedStripeBlock":
        """Inference form, sharing the weights that stay as they are."""
        return FusedStripeBlock(self)

    reparameterize = fuse


class FusedStripeBlock(nn.Module):
    """The inference form of `StripeBlock`: scale folded, one projection a branch."""

    def __init__(self, trained: StripeBlock) -> None:
        super().__init__()
        self.norm1, self.norm2, self.proj, self.mlp = trained.norm1, trained.norm2, trained.proj, trained.mlp
        self.attns = nn.ModuleList(_fused_branches(trained))

    def forward(self, x: Tensor) -> Tensor:
        """Run the block: [B, H, W, C] -> [B, H, W, C]."""
        x = self.attend(x)
        return x + self.mlp(self.norm2(x))

    def attend(self, x: Tensor) -> Tensor:
        """Add the attention's result to x [B, H, W, C]."""
        normed = self.norm1(x)
        branches = [attention(normed) for attention in self.attns]
        return x + self.proj(branches[0] if len(branches) == 1 else torch.cat(branches, dim=-1))


def _fused_branches(trained: StripeBlock) -> list[FusedStripeAttention]:
    count = len(trained.attns)

    def rows(stored: Tensor, branch: int, scale: float) -> Tensor:
        """Rows of q, k and v that belong to one branch, queries scaled: [3C, ...] -> [3C/count, ...]."""
        parts = stored.detach().reshape(3, count, -1, *stored.shape[1:])[:, branch].clone()  # [3, C/count, ...]
        parts[0] *= scale
        return parts.flatten(0, 1)

    return [
        FusedStripeAttention(
            attention,  # type: ignore[arg-type]  # a ModuleList forgets what it holds
            linear(
                rows(trained.qkv.weight, branch, float(attention.scale)),  # type: ignore[arg-type]
                rows(trained.qkv.bias, branch, float(attention.scale)),  # type: ignore[arg-type]
            ),
        )
        for branch, attention in enumerate(trained.attns)
    ]


def stripes(
    resolution: tuple[int, int], width: tuple[int, int], *, padded: bool = False
) -> tuple[tuple[int, int], ...]:
    """Window sizes (rows, columns) of each branch: vertical stripes first; the whole map alone for width 0, 0.

    Args:
        width: rows of a horizontal and columns of a vertical stripe.
        padded: whether zeros complete the map.

    Raises:
        ShapeError: a stripe does not divide the map, which CSwin's classifier does not pad.
    """
    rows, cols = resolution
    if min(resolution) < 1:
        raise ShapeError(f"a map of {rows}x{cols}")
    if width == (0, 0):
        return (resolution,)
    if not padded and (rows % width[0] or cols % width[1]):
        raise ShapeError(f"a map of {rows}x{cols}, which stripes of {width[0]} rows, {width[1]} columns do not divide")
    return (rows, width[1]), (width[0], cols)


def attend(qkv: Tensor, heads: int) -> Tensor:
    """softmax(q kT) v: qkv [B*nW, N, 3C] with scaled queries -> [B*nW, N, C]."""
    q, k, v = split_heads(qkv, heads)  # [B*nW, nH, N, d]
    out = (q @ k.transpose(-2, -1)).softmax(dim=-1) @ v
    return out.transpose(1, 2).flatten(2)


def lepe(qkv: Tensor, size: tuple[int, int], conv: nn.Module) -> Tensor:
    """Locally enhanced position encoding: depthwise convolution of the values, qkv [B*nW, N, 3C] -> [B*nW, N, C].

    A stripe is convolved alone: outside it there are zeros.
    """
    _, tokens, width = qkv.shape
    values = qkv[..., 2 * width // 3 :].transpose(1, 2).reshape(-1, width // 3, *size)  # [B*nW, C, rows, cols]
    return conv(values).reshape(-1, width // 3, tokens).transpose(1, 2)


def within(conv: nn.Conv2d, size: tuple[int, int]) -> nn.Conv2d:
    """Crop a 3x3 convolution to the taps that can fall inside a window of `size`, which is one pixel wide.

    Example, stripes of one column, size (56, 1): the outer columns of the kernel only ever meet zeros.

        Given   weight [C, 1, 3, 3], padding (1, 1)
        Result  weight [C, 1, 3, 1], padding (1, 0): its middle column
    """
    rows, cols = (slice(1, 2) if side == 1 else slice(0, 3) for side in size)
    weight = conv.weight.detach()[:, :, rows, cols].contiguous()
    kernel = (weight.shape[2], weight.shape[3])
    with torch.device("meta"):
        cut = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            kernel,
            padding=(kernel[0] // 2, kernel[1] // 2),
            groups=conv.groups,
        )
    cut.weight, cut.bias = nn.Parameter(weight, requires_grad=False), conv.bias
    return cut
