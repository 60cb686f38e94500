"""Attention inside the windows of a map, without a position bias: the locally-grouped attention of Twins-SVT.

A map that is no multiple of the window gets zeros after its last row and column, behind the block's norm and before
`qkv`, so the key and the value of a padded token are the bias of `qkv`. Whether real tokens see them:

    padding "refuse"  a map that needs padding is refused: upstream's classification code fails in a reshape
    padding "zeros"   they do: upstream's detection code
    padding "mask"    they do not, but only where rows and columns are padded: upstream's segmentation code

Source: Meituan-AutoML/Twins c1ff671, gvt.py, GroupAttention; detection/gvt.py, GroupAttention.forward; segmentation/
gvt.py, GroupAttention.forward_mask, where `mask[:, -pad_b:]` with `pad_b` 0 marks every token, and so none.
"""

import torch
from torch import Tensor, nn

from .family import ShapeError
from .layers import pad_end
from .window_attention import Windows, fold_scale, split_heads

MASKED = -1000.0  # upstream's; exp(-1000) is 0 in every float type
PADDINGS = ("refuse", "zeros", "mask")


class GroupAttention(nn.Module):
    """Multi-head attention inside each window.

    Args:
        dim: channels C.
        heads: number of heads nH.
        resolution: rows and columns of the map.
        window: side of a window; N = window * window tokens.
        padding: one of `PADDINGS`.

    Raises:
        ShapeError: the map needs padding where none is allowed.
    """

    mask: Tensor | None

    def __init__(self, dim: int, heads: int, resolution: tuple[int, int], window: int, padding: str) -> None:
        super().__init__()
        self.groups = Groups(resolution, window, padding)
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.register_buffer("mask", self.groups.mask(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within the windows of x [B, H, W, C], to the same shape."""
        q, k, v = split_heads(self.qkv(self.groups.cut(x)), self.heads)
        return self.proj(self.groups.join(attend(q * self.scale, k, v, self.mask)))

    def fuse(self) -> "FusedGroupAttention":
        """Make the inference form, which shares the weights that stay as they are."""
        return FusedGroupAttention(self)

    reparameterize = fuse


class FusedGroupAttention(nn.Module):
    """The inference form of `GroupAttention`: the scale is in the weights of the queries."""

    mask: Tensor | None

    def __init__(self, trained: GroupAttention) -> None:
        super().__init__()
        self.groups, self.heads, self.proj = trained.groups, trained.heads, trained.proj
        self.qkv = fold_scale(trained.qkv, trained.scale)
        self.register_buffer("mask", trained.mask)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within the windows of x [B, H, W, C], to the same shape."""
        q, k, v = split_heads(self.qkv(self.groups.cut(x)), self.heads)
        return self.proj(self.groups.join(attend(q, k, v, self.mask)))


class Groups:
    """How a map is cut into windows, after the padding that makes them fit.

    Args:
        resolution: rows and columns of the map.
        window: side of a window.
        padding: one of `PADDINGS`.

    Raises:
        ShapeError: the map needs padding where none is allowed, or the padding has another name.
    """

    def __init__(self, resolution: tuple[int, int], window: int, padding: str) -> None:
        if padding not in PADDINGS:
            raise ShapeError(f"padding {padding!r}, where one of {', '.join(PADDINGS)} is expected")
        rows, cols = resolution
        self.resolution, self.added = resolution, (-rows % window, -cols % window)
        if padding == "refuse" and any(self.added):
            raise ShapeError(f"a map of {rows}x{cols}, which windows of {window}x{window} do not divide")
        padded = (rows + self.added[0], cols + self.added[1])
        self.windows = Windows(padded, (window, window), shifted=False)
        self.excluded = padding == "mask" and all(self.added)

    def cut(self, x: Tensor) -> Tensor:
        """Cut x [B, H, W, C] into windows [B*nW, N, C]."""
        return self.windows.cut(pad_end(x, *self.added))

    def join(self, windows: Tensor) -> Tensor:
        """Put windows [B*nW, N, C] together to the map [B, H, W, C]: the inverse of `cut`."""
        x = self.windows.join(windows)
        return x[:, : self.resolution[0], : self.resolution[1]] if any(self.added) else x

    def mask(self) -> Tensor | None:
        """What keeps real tokens from padded ones, [nW, 1, 1, N], or None where they are seen.

        Upstream's also keeps padded tokens from real ones; what a padded token gets is cut away.
        """
        if not self.excluded:
            return None
        real = pad_end(torch.ones(1, *self.resolution, 1), *self.added)  # [1, H', W', 1]
        padded = self.windows.cut(1 - real).flatten(1)  # [nW, N]
        return (padded * MASKED)[:, None, None]


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Compute softmax(q kT + mask) v as [B*nW, N, C], for q, k, v [B*nW, nH, N, d] and a mask [nW, 1, 1, N]."""
    _, heads, tokens, width = q.shape
    logits = q @ k.transpose(-2, -1)  # [B*nW, nH, N, N]
    if mask is not None:
        logits = logits.reshape(-1, mask.shape[0], heads, tokens, tokens) + mask  # [B, nW, nH, N, N]
    attention = logits.reshape(-1, heads, tokens, tokens).softmax(dim=-1)
    return (attention @ v).transpose(1, 2).reshape(-1, tokens, heads * width)  # [B*nW, N, C]
