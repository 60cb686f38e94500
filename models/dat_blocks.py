"""What DAT and DAT++ put around deformable attention: window attention of their own, two MLPs, convolutions, a scale.

Every map is channels last, [B, H, W, C]; upstream's are channels first. Names of parameters are upstream's.
Source: LeapLabTHU/DAT 566a593 (DAT) and 32173fc (DAT++), models/dat_blocks.py and models/dat.py.
"""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from .conv_mlp import ChannelsLastConv, with_identity
from .family import ShapeError
from .window_attention import Windows, attend, fold_scale, relative_position_index, split_heads


class LocalAttention(nn.Module):
    """Swin's window attention under DAT's names; a map is never padded, and shifted also where it is one window.

    Args:
        dim: channels C.
        heads: number of heads nH.
        resolution: rows and columns of the map.
        window: side of a window; N = window * window tokens.
        shifted: whether the map is rolled by half a window, rounded up (Swin rounds down).

    Raises:
        ShapeError: windows do not divide the map.
    """

    relative_position_index: Tensor
    attn_mask: Tensor | None

    def __init__(self, dim: int, heads: int, resolution: tuple[int, int], window: int, *, shifted: bool) -> None:
        super().__init__()
        refuse_remainder(resolution, window)
        self.windows = Windows(resolution, (window, window), shifted=False)
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.proj_qkv = nn.Linear(dim, 3 * dim)
        self.proj_out = nn.Linear(dim, dim)
        table = nn.init.trunc_normal_(torch.empty((2 * window - 1) ** 2, heads), std=0.01)
        self.relative_position_bias_table = nn.Parameter(table)
        self.register_buffer("relative_position_index", relative_position_index((window, window)))
        if shifted:
            self.windows.shift = (math.ceil(window / 2),) * 2
        self.register_buffer("attn_mask", self.windows.mask())  # [nW, N, N], or none

    def bias(self) -> Tensor:
        """Position bias and mask of every pair of tokens, [nW or 1, nH, N, N]."""
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1).unsqueeze(0)
        return bias if self.attn_mask is None else bias + self.attn_mask.unsqueeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within the windows of x [B, H, W, C], to the same shape."""
        q, k, v = split_heads(self.proj_qkv(self.windows.cut(x)), self.heads)
        return self.proj_out(self.windows.join(attend(q * self.scale, k, v, self.bias())))

    def fuse(self) -> "FusedLocalAttention":
        """Make the inference form, which shares the weights that stay as they are."""
        return FusedLocalAttention(self)

    reparameterize = fuse


class FusedLocalAttention(nn.Module):
    """The inference form: the scale is in the weights, position bias and mask are one constant."""

    bias: Tensor

    def __init__(self, trained: LocalAttention) -> None:
        super().__init__()
        self.windows, self.heads, self.proj_out = trained.windows, trained.heads, trained.proj_out
        self.proj_qkv = fold_scale(trained.proj_qkv, trained.scale)
        self.register_buffer("bias", trained.bias().detach())

    def forward(self, x: Tensor) -> Tensor:
        """Attend within the windows of x [B, H, W, C], to the same shape."""
        q, k, v = split_heads(self.proj_qkv(self.windows.cut(x)), self.heads)
        return self.proj_out(self.windows.join(attend(q, k, v, self.bias)))


def refuse_remainder(resolution: tuple[int, int], window: int) -> None:
    """Refuse a map that windows do not divide: upstream fails on it.

    Raises:
        ShapeError: it is one.
    """
    rows, cols = resolution
    if rows % window or cols % window:
        raise ShapeError(f"a map of {rows}x{cols}, which windows of {window}x{window} do not divide")


class TokenMlp(nn.Module):
    """Two linear layers with an exact (erf) GELU between them (upstream `TransformerMLP`)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        layers = (("linear1", nn.Linear(dim, hidden)), ("act", nn.GELU()), ("linear2", nn.Linear(hidden, dim)))
        self.chunk = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Compute [..., C] of x [..., C]."""
        return self.chunk(x)


class DepthwiseMlp(nn.Module):
    """Two 1x1 convolutions, a depthwise one and a GELU between them (upstream `TransformerMLPWithConv`).

    Args:
        dim: channels C.
        hidden: channels between the 1x1 convolutions.
        plus_plus: whether it is DAT++'s, which adds the depthwise convolution to what goes into it and has each 1x1
            convolution in a list of one.
    """

    def __init__(self, dim: int, hidden: int, *, plus_plus: bool) -> None:
        super().__init__()
        self.plus_plus = plus_plus
        first, last = nn.Conv2d(dim, hidden, 1), nn.Conv2d(hidden, dim, 1)
        self.linear1: nn.Module = nn.Sequential(first) if plus_plus else first
        self.linear2: nn.Module = nn.Sequential(last) if plus_plus else last
        self.dwc = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Compute [B, H, W, C] of x [B, H, W, C]."""
        x = self.linear1(x.permute(0, 3, 1, 2))  # [B, hidden, H, W]
        x = x + self.dwc(x) if self.plus_plus else self.dwc(x)
        return self.linear2(functional.gelu(x)).permute(0, 2, 3, 1)

    def fuse(self) -> "FusedDepthwiseMlp":
        """Make the inference form, which shares the weights that stay as they are."""
        return FusedDepthwiseMlp(self)

    reparameterize = fuse


class FusedDepthwiseMlp(nn.Module):
    """The inference form: DAT++'s sum is in the middle of the kernels."""

    def __init__(self, trained: DepthwiseMlp) -> None:
        super().__init__()
        self.linear1, self.linear2 = trained.linear1, trained.linear2
        self.dwc = with_identity(trained.dwc) if trained.plus_plus else trained.dwc

    def forward(self, x: Tensor) -> Tensor:
        """Compute [B, H, W, C] of x [B, H, W, C]."""
        x = self.dwc(self.linear1(x.permute(0, 3, 1, 2)))  # [B, hidden, H, W]
        return self.linear2(functional.gelu(x)).permute(0, 2, 3, 1)


class PerceptionUnit(nn.Conv2d):
    """Adds a depthwise 3x3 convolution of the map to it (upstream `local_perception_units`)."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """Compute [B, H, W, C] of x [B, H, W, C]."""
        return x + super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def fuse(self) -> ChannelsLastConv:
        """Make the inference form: the sum is in the middle of the kernels."""
        return ChannelsLastConv(with_identity(self))

    reparameterize = fuse


class LayerScale(nn.Module):
    """A learned factor for each channel of a residual."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((dim,), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        """Scale x [..., C]."""
        return x * self.weight
