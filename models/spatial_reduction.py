"""PVT's attention: every token looks at a reduced map. The block that PVT, PVTv2 and their slide forms are made of.

A sequence with a class token passes as a map of one row, [B, 1, 1 + H*W, C], where nothing is reduced.
Source: whai362/PVT 57e2dfa, classification/pvt.py and pvt_v2.py, Attention and Block.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import NORM_EPS
from .window_attention import linear

EPS = 1e-6  # of a block's norms; the norm of the reduced map has LayerNorm's own 1e-5
POOLED = 7  # rows and columns to which PVTv2's linear form pools every map


class ReducedAttention(nn.Module):
    """Multi-head attention of queries from every token with keys and values from a map that a convolution reduced.

    Args:
        dim: channels C.
        heads: number of heads nH.
        reduction: kernel and stride of the convolution; 1 leaves the map as it is.
        eps: of the reduced map's norm.
    """

    def __init__(self, dim: int, heads: int, reduction: int, *, eps: float = NORM_EPS) -> None:
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.sr = nn.Conv2d(dim, dim, reduction, stride=reduction) if reduction > 1 else None
        self.norm = nn.LayerNorm(dim, eps=eps) if reduction > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Attend to the reduced map: [B, H, W, C] -> [B, H, W, C]."""
        return self.proj(attend(self.q(x) * self.scale, self.kv(self.reduced(x)), self.heads))

    def reduced(self, x: Tensor) -> Tensor:
        """Map that keys and values come from: [B, H, W, C] -> [B, H/reduction, W/reduction, C]."""
        return x if self.sr is None or self.norm is None else Reduction(self.sr, self.norm)(x)

    def fuse(self) -> "FusedReducedAttention":
        """Inference form, sharing the weights that stay as they are."""
        reduction = None if self.sr is None or self.norm is None else Reduction(self.sr, self.norm)
        return FusedReducedAttention(self, reduction)

    reparameterize = fuse


class PooledAttention(ReducedAttention):
    """The linear form: the map is pooled to 7x7, whatever its size, then mixed by a 1x1 convolution, normed, activated.

    Args:
        dim: channels C.
        heads: number of heads nH.
        resolution: rows and columns of the map.
        eps: of the pooled map's norm.
    """

    def __init__(self, dim: int, heads: int, resolution: tuple[int, int], *, eps: float = NORM_EPS) -> None:
        super().__init__(dim, heads, reduction=1)
        self.resolution = resolution
        self.sr = nn.Conv2d(dim, dim, 1)
        self.norm = nn.LayerNorm(dim, eps=eps)

    def reduced(self, x: Tensor) -> Tensor:
        """Map that keys and values come from: [B, H, W, C] -> [B, 7, 7, C]."""
        pooled = functional.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), POOLED)
        return functional.gelu(self.norm(self.sr(pooled).permute(0, 2, 3, 1)))  # type: ignore[misc]  # never None here

    def fuse(self) -> "FusedReducedAttention":
        """Inference form, sharing the weights that stay as they are."""
        return FusedReducedAttention(self, Pooling(self.sr, self.norm, self.resolution))  # type: ignore[arg-type]

    reparameterize = fuse


class FusedReducedAttention(nn.Module):
    """The inference form of both: the scale is in the queries' weights, the reduction is a module of its own."""

    def __init__(self, trained: ReducedAttention, reduction: nn.Module | None) -> None:
        super().__init__()
        self.heads, self.kv, self.proj, self.reduction = trained.heads, trained.kv, trained.proj, reduction
        self.q = linear(trained.q.weight.detach() * trained.scale, trained.q.bias.detach() * trained.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Attend to the reduced map, query scale folded: [B, H, W, C] -> [B, H, W, C]."""
        seen = x if self.reduction is None else self.reduction(x)
        return self.proj(attend(self.q(x), self.kv(seen), self.heads))


class Reduction(nn.Module):
    """A strided convolution without overlap, then LayerNorm; rows and columns that it leaves over are dropped."""

    def __init__(self, sr: nn.Conv2d, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.sr, self.norm = sr, norm

    def forward(self, x: Tensor) -> Tensor:
        """Reduce by a strided convolution: [B, H, W, C] -> [B, H/stride, W/stride, C]."""
        return self.norm(self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class Pooling(nn.Module):
    """Adaptive average pooling as two products with constant matrices, which every target has at every map size."""

    rows: Tensor
    cols: Tensor

    def __init__(self, sr: nn.Conv2d, norm: nn.LayerNorm, resolution: tuple[int, int]) -> None:
        super().__init__()
        self.resolution, self.norm = resolution, norm
        self.sr = linear(sr.weight.detach().flatten(1), sr.bias.detach())  # type: ignore[union-attr]  # it has a bias
        self.register_buffer("rows", averages(resolution[0], POOLED).to(sr.weight))
        self.register_buffer("cols", averages(resolution[1], POOLED).to(sr.weight))

    def forward(self, x: Tensor) -> Tensor:
        """Pool by two constant matrices, then convolve 1x1: [B, H, W, C] -> [B, 7, 7, C]."""
        (rows, cols), dim = self.resolution, x.shape[3]
        x = (self.rows @ x.reshape(-1, rows, cols * dim)).reshape(-1, POOLED, cols, dim)
        return functional.gelu(self.norm(self.sr(self.cols @ x)))


class ReducedBlock(nn.Module):
    """Pre-norm block of a given attention and a given MLP, each with a residual."""

    def __init__(self, dim: int, attention: nn.Module, mlp: nn.Module, *, eps: float = EPS) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = attention
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        """Attention to the reduced map and MLP with residuals: [B, H, W, C] -> [B, H, W, C]."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def attend(q: Tensor, kv: Tensor, heads: int) -> Tensor:
    """softmax(q kT) v: scaled queries [B, H, W, C], kv [B, h, w, 2C] with k before v -> [B, H, W, C]."""
    _, rows, cols, dim = q.shape
    tokens = kv.shape[1] * kv.shape[2]
    q = q.reshape(-1, rows * cols, heads, dim // heads).transpose(1, 2)  # [B, nH, HW, d]
    k, v = (part.reshape(-1, tokens, heads, dim // heads).transpose(1, 2) for part in kv.split(dim, dim=-1))
    out = (q @ k.transpose(-2, -1)).softmax(dim=-1) @ v  # [B, nH, HW, d]
    return out.transpose(1, 2).reshape(-1, rows, cols, dim)


def averages(length: int, bins: int) -> Tensor:
    """Adaptive average pooling as a matrix [bins, length]: bin i averages floor(i*L/n) to ceil((i+1)*L/n).

    Example, 3 bins of 5 positions: neighbouring bins overlap where 3 does not divide 5.

        bin 0    1/2 1/2  .   .   .
        bin 1     .  1/3 1/3 1/3  .
        bin 2     .   .   .  1/2 1/2
    """
    position, bin_ = torch.arange(length), torch.arange(bins)[:, None]
    first, end = bin_ * length // bins, -(-(bin_ + 1) * length // bins)
    return ((position >= first) & (position < end)).float() / (end - first)
