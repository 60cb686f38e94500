"""Swin's window attention block, in its train-time and its inference form.

Windows are cut in two rank-4 steps (rows, then columns), never through the rank-6 view that CoreML refuses.
Source: microsoft/Swin-Transformer f82860b, models/swin_transformer.py, WindowAttention and SwinTransformerBlock.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from .family import ShapeError
from .layers import NORM_EPS, Mlp, pad_end, roll

PAIRS = 1 << 27  # of tokens: a gibibyte of positions
MANY_WINDOWS = 64  # of a published classifier's first stage; a segmenter's has hundreds
MASKED = -100.0  # Swin's mask value: not -inf, so a device without IEEE infinities computes the same

SmallMaps = Literal["shrink", "joint", "pad", "pad-and-shift"]


@dataclass(frozen=True)
class WindowRule:
    """What libraries do differently where windows and map do not fit; the weights are the same.

    Attributes:
        small_maps: on an axis no longer than its window
            shrink: the window becomes the axis, unshifted (this project; timm, WindowAttention and _calc_window_shift);
            joint: the same, but one such axis stops the shift of both, and none may be shorter (transformers,
                SwinLayer.set_shift_and_window_size; mmpretrain, ShiftWindowMSA);
            pad: the window stays, zeros fill it and are attended to, unshifted (torchvision, shifted_window_attention);
            pad-and-shift: the same, but shifted (mmsegmentation and mmdetection, ShiftWindowMSA).
        roll_first: a shifted map is rolled before it is padded to whole windows (timm from 0.9 on), not after.
        centred: zeros are put on both sides of the map, the smaller half first (CSwin's segmenter), not behind it.
    """

    small_maps: SmallMaps = "shrink"
    roll_first: bool = False
    centred: bool = False


OWN_RULE = WindowRule()


class WindowAttention(nn.Module):
    """Multi-head attention inside each window, with a learned relative position bias.

    Args:
        dim: channels C.
        heads: number of heads nH.
        window: rows and columns of one window; N = rows * cols tokens.
    """

    relative_position_index: Tensor

    def __init__(self, dim: int, heads: int, window: tuple[int, int]) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(
            nn.init.trunc_normal_(torch.empty((2 * window[0] - 1) * (2 * window[1] - 1), heads), std=0.02)
        )
        self.register_buffer("relative_position_index", relative_position_index(window))

    def bias(self) -> Tensor:
        """Position bias of every pair of tokens, [nH, N, N]."""
        return self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Attend within each window; `mask` [nW, N, N] is added to the logits: [B*nW, N, C] -> [B*nW, N, C]."""
        q, k, v = split_heads(self.qkv(windows), self.heads)
        bias = self.bias().unsqueeze(0)  # [1, nH, N, N]
        if mask is not None:
            bias = bias + mask.unsqueeze(1)  # [nW, nH, N, N]
        return self.proj(attend(q * self.scale, k, v, bias))


class FusedWindowAttention(nn.Module):
    """Window attention with its constants folded: scale in the qkv weights, position bias and mask in one tensor.

    Of many windows the two stay apart: together they take a number for each head of each window, at 800x1344 as much
    as two thirds of a Swin-T's weights.
    """

    bias: Tensor
    mask: Tensor | None

    def __init__(self, trained: WindowAttention, mask: Tensor | None) -> None:
        super().__init__()
        self.heads = trained.heads
        self.qkv = fold_scale(trained.qkv, trained.scale)
        self.proj = trained.proj
        bias = trained.bias().detach().unsqueeze(0)  # [1, nH, N, N]
        apart = mask is not None and mask.shape[0] > MANY_WINDOWS
        whole = bias.clone() if mask is None or apart else bias + mask.unsqueeze(1)  # [nW, nH, N, N]
        self.register_buffer("bias", whole)
        self.register_buffer("mask", mask.unsqueeze(1) if mask is not None and apart else None)  # [nW, 1, N, N]

    def forward(self, windows: Tensor) -> Tensor:
        """Attend within each window, bias gathered and query scale folded: [B*nW, N, C] -> [B*nW, N, C]."""
        q, k, v = split_heads(self.qkv(windows), self.heads)
        return self.proj(attend(q, k, v, self.bias, self.mask))


class WindowBlock(nn.Module):
    """Pre-norm block: (shifted) window attention, then an MLP, each with a residual.

    Args:
        dim: channels C.
        heads: number of heads nH.
        windows: how the map is cut.
        mlp_ratio: hidden width of the MLP over C.
        activation: of the MLP.
        eps: of both norms.
    """

    attn_mask: Tensor | None

    def __init__(
        self,
        dim: int,
        heads: int,
        windows: "Windows",
        *,
        mlp_ratio: float,
        activation: str = "gelu",
        eps: float = NORM_EPS,
    ) -> None:
        super().__init__()
        self.windows = windows
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = WindowAttention(dim, heads, self.windows.size)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), activation=activation)
        self.register_buffer("attn_mask", self.windows.mask())

    def forward(self, x: Tensor) -> Tensor:
        """Window attention and MLP with residuals: [B, H, W, C] -> [B, H, W, C]."""
        x = x + self.windows.join(self.attn(self.windows.cut(self.norm1(x)), self.attn_mask))
        return x + self.mlp(self.norm2(x))

    def fuse(self) -> "FusedWindowBlock":
        """Inference form, sharing this block's weights."""
        return FusedWindowBlock(self)

    reparameterize = fuse


class FusedWindowBlock(nn.Module):
    """The inference form of `WindowBlock`."""

    def __init__(self, trained: WindowBlock) -> None:
        super().__init__()
        self.windows = trained.windows
        self.norm1, self.norm2, self.mlp = trained.norm1, trained.norm2, trained.mlp
        self.attn = FusedWindowAttention(trained.attn, trained.attn_mask)

    def forward(self, x: Tensor) -> Tensor:
        """Same function, the mask added to the bias in advance: [B, H, W, C] -> [B, H, W, C]."""
        x = x + self.windows.join(self.attn(self.windows.cut(self.norm1(x))))
        return x + self.mlp(self.norm2(x))


class Windows:
    """How one block cuts its map into windows: sizes, shifts and the padding that makes them fit.

    Args:
        resolution: rows and columns of the map.
        window: rows and columns of a window; on an axis no longer than its window there is one window and no shift.
        shifted: whether this block rolls the map by half a window.
        rule: what becomes of windows that do not fit the map.
    """

    def __init__(
        self, resolution: tuple[int, int], window: tuple[int, int], *, shifted: bool, rule: WindowRule = OWN_RULE
    ) -> None:
        self.resolution = resolution
        self.size = window_size(window, resolution, rule)
        self.padding = (-resolution[0] % self.size[0], -resolution[1] % self.size[1])
        self.padded = (resolution[0] + self.padding[0], resolution[1] + self.padding[1])
        longer = [w < side for w, side in zip(self.size, self.padded, strict=True)]
        moves = {"joint": [all(longer)] * 2, "pad-and-shift": [True, True]}.get(rule.small_maps, longer)
        self.shift = tuple(w // 2 if shifted and m else 0 for w, m in zip(self.size, moves, strict=True))
        self.roll_first = rule.roll_first
        self.before = tuple(pad // 2 if rule.centred else 0 for pad in self.padding)

    def cut(self, x: Tensor) -> Tensor:
        """Cut x [B, H, W, C] into windows [B*nW, N, C], row by row, after padding and the shift."""
        x = self._pad(roll(x, *self.shift)) if self.roll_first else roll(self._pad(x), *self.shift)
        (wh, ww), dim = self.size, x.shape[3]
        if ww == self.padded[1]:  # a window is rows of the map as they lie in memory
            return x.reshape(-1, wh * ww, dim)
        x = x.reshape(-1, wh, self.padded[1] // ww, ww * dim)  # [B*rows of windows, wh, columns of windows, ww*C]
        return x.transpose(1, 2).reshape(-1, wh * ww, dim)

    def join(self, windows: Tensor) -> Tensor:
        """Join the windows to a map, the inverse of `cut`: [B*nW, N, C] -> [B, H, W, C]."""
        (wh, ww), (rows, cols), dim = self.size, self.padded, windows.shape[2]
        x = windows
        if ww != cols:
            x = x.reshape(-1, cols // ww, wh, ww * dim).transpose(1, 2)  # [B*rows of windows, wh, columns, ww*C]
        x = x.reshape(-1, rows, cols, dim)  # [B, Hp, Wp, C]
        if self.roll_first:
            return self._roll_back(self._cut_padding(x))
        return self._cut_padding(self._roll_back(x))

    def _cut_padding(self, x: Tensor) -> Tensor:
        if not any(self.padding):
            return x
        (top, left), (rows, cols) = self.before, self.resolution
        return x[:, top : top + rows, left : left + cols]

    def _pad(self, x: Tensor) -> Tensor:
        (top, left), (rows, cols) = self.before, self.padding
        if not top and not left:
            return pad_end(x, rows, cols)
        return functional.pad(x, (0, 0, left, cols - left, top, rows - top))

    def _roll_back(self, x: Tensor) -> Tensor:
        return roll(x, *(-s % r for s, r in zip(self.shift, x.shape[1:3], strict=True)))

    def mask(self) -> Tensor | None:
        """Mask [nW, N, N] between tokens that only the roll made neighbours: 0 or MASKED; None without a shift."""
        if not any(self.shift):
            return None
        refuse_large(self.size, math.prod(self.padded) // math.prod(self.size))
        axes = [_regions(n, w, s) for n, w, s in zip(self.padded, self.size, self.shift, strict=True)]
        region = (axes[0][:, None] * 3 + axes[1][None, :]).float()[None, :, :, None]  # [1, Hp, Wp, 1]
        (wh, ww), cols = self.size, self.padded[1]
        region = region.reshape(-1, wh, cols // ww, ww).transpose(1, 2).reshape(-1, wh * ww)  # [nW, N]
        return (region[:, None, :] != region[:, :, None]).float() * MASKED


def window_size(window: tuple[int, int], resolution: tuple[int, int], rule: WindowRule) -> tuple[int, int]:
    """Rows and columns of the windows of a map."""
    if rule.small_maps == "shrink":
        return min(window[0], resolution[0]), min(window[1], resolution[1])
    return window


def _regions(length: int, window: int, shift: int) -> Tensor:
    """Region number of each position of a rolled axis: 0 bulk, 1 rest of the last window, 2 wrapped part.

    Example, length 8, window 4, shift 2: positions 0 and 1 were rolled to the end.

        position after the roll    2 3 4 5 | 6 7 0 1
        region                     0 0 0 0 | 1 1 2 2

    Tokens of one window attend to each other where their regions are equal.
    """
    position = torch.arange(length)
    if not shift:
        return torch.zeros_like(position)
    return (position >= length - window).long() + (position >= length - shift).long()


def relative_position_index(window: tuple[int, int]) -> Tensor:
    """Row of the bias table for each pair (query, key) of tokens, int64 [N, N].

    Source: Swin, WindowAttention: (dy + wh - 1) * (2*ww - 1) + (dx + ww - 1), tokens in row-major order.
    """
    refuse_large(window)
    rows, cols = (grid.reshape(-1) for grid in torch.meshgrid(*map(torch.arange, window), indexing="ij"))
    dy, dx = rows[:, None] - rows[None, :], cols[:, None] - cols[None, :]
    return (dy + window[0] - 1) * (2 * window[1] - 1) + dx + window[1] - 1


def refuse_large(window: tuple[int, int], windows: int = 1) -> None:
    """Refuse windows whose pairs of tokens would take gigabytes: a configuration may say any size.

    Args:
        window: rows and columns of one.
        windows: how many there are.

    Raises:
        ShapeError: there are too many pairs.
    """
    pairs = windows * math.prod(window) ** 2
    if pairs > PAIRS:
        raise ShapeError(f"{windows} windows of {window[0]}x{window[1]}, whose {pairs} pairs of tokens are too many")


def resize_table(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Resize a bias table to another window, one bicubic image a head.

    [(2*oh-1)*(2*ow-1), nH] -> [(2*nh-1)*(2*nw-1), nH].

    Source: Swin, utils.load_pretrained.
    """
    image = table.reshape(2 * old[0] - 1, 2 * old[1] - 1, -1).permute(2, 0, 1)[None]  # [1, nH, 2oh-1, 2ow-1]
    image = functional.interpolate(image, size=(2 * new[0] - 1, 2 * new[1] - 1), mode="bicubic", align_corners=False)
    return image[0].permute(1, 2, 0).reshape(-1, table.shape[1])


def split_heads(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split qkv [B*nW, N, 3C], in the order (q|k|v, head, channel), into q, k, v [B*nW, nH, N, d]."""
    _, tokens, width = qkv.shape
    q, k, v = (
        part.reshape(-1, tokens, heads, width // (3 * heads)).transpose(1, 2) for part in qkv.split(width // 3, dim=-1)
    )
    return q, k, v


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q kT + bias + mask) v: q, k, v [B*nW, nH, N, d], bias [nW or 1, nH, N, N] -> [B*nW, N, C].

    Args:
        mask: [nW, 1, N, N], where it is not in the bias.
    """
    _, heads, tokens, width = q.shape
    logits = q @ k.transpose(-2, -1)  # [B*nW, nH, N, N]
    if bias.shape[0] > 1:
        logits = logits.reshape(-1, *bias.shape)  # [B, nW, nH, N, N]
    logits = logits + bias
    if mask is not None:
        logits = logits.reshape(-1, mask.shape[0], heads, tokens, tokens) + mask
    attention = logits.reshape(-1, heads, tokens, tokens).softmax(dim=-1)
    return (attention @ v).transpose(1, 2).reshape(-1, tokens, heads * width)


def fold_scale(qkv: nn.Linear, scale: float) -> nn.Linear:
    """Copy qkv with its first third of outputs, the queries, multiplied by `scale`."""
    weight, bias = qkv.weight.detach().clone(), qkv.bias.detach().clone()
    queries = slice(0, qkv.out_features // 3)
    weight[queries] *= scale
    bias[queries] *= scale
    return linear(weight, bias)


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Linear layer of weight [out, in] and bias [out]."""
    with torch.device("meta"):
        layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = (nn.Parameter(value, requires_grad=False) for value in (weight, bias))
    return layer
