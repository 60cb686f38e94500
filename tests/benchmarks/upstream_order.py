"""Swin and Slide-Swin with the operators in upstream's order: what somebody exports who exports the model as it stands.

The weights are ours by reference; only the views differ. Slide attention is two convolutions and rank-6 arithmetic,
windows are cut through 6-D views and rolled with `torch.roll`.
Source: LeapLabTHU/Slide-Transformer 6b1e184, slide_transformer/models/slide_swin.py; microsoft/Swin-Transformer
f82860b, models/swin_transformer.py: the order of operations, in our words.
"""

import torch
from torch import Tensor, nn

from slide_export.inference.fuse import replace_layers
from slide_export.models.slide_attention import SlideAttention
from slide_export.models.window_attention import WindowAttention, WindowBlock


def in_upstream_order(module: nn.Module) -> nn.Module:
    """A copy of a train-time model with upstream's order of operations, sharing the weights."""
    return replace_layers(module, _replacement)


def _replacement(layer: nn.Module) -> nn.Module | None:
    if isinstance(layer, SlideAttention):
        return Rank6SlideAttention(layer)
    if isinstance(layer, WindowBlock):
        return SixDimensionalWindowBlock(layer)
    return None


class Rank6SlideAttention(nn.Module):
    """Two convolutions for keys and for values, then products, softmax and sums at rank 6."""

    def __init__(self, trained: SlideAttention) -> None:
        super().__init__()
        self.heads, self.width, self.taps = trained.heads, trained.width, trained.kernel_size**2
        self.scale, self.qkv, self.proj = trained.scale, trained.qkv, trained.proj
        self.dep_conv, self.dep_conv1 = trained.dep_conv, trained.dep_conv1
        self.relative_position_bias_table = trained.relative_position_bias_table

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, C] for x [B, H, W, C]."""
        batch, rows, cols, dim = x.shape
        heads, width = self.heads, self.width
        x = self.qkv(x.reshape(batch, rows * cols, dim)).permute(0, 2, 1).reshape(batch, 3 * dim, rows, cols)
        q, k, v = x.reshape(batch * heads, 3 * width, rows, cols).chunk(3, dim=1)
        q = (q * self.scale).reshape(batch, heads, width, 1, rows, cols)
        k = (self.dep_conv(k) + self.dep_conv1(k)).reshape(batch, heads, width, self.taps, rows, cols)
        v = (self.dep_conv(v) + self.dep_conv1(v)).reshape(batch, heads, width, self.taps, rows, cols)
        attention = (q * (k + self.relative_position_bias_table)).sum(2, keepdim=True).softmax(dim=3)
        out = (attention * v).sum(3).reshape(batch, dim, rows * cols).permute(0, 2, 1)
        return self.proj(out).reshape(batch, rows, cols, dim)


class SixDimensionalWindowBlock(nn.Module):
    """A Swin block whose windows are 6-D views, with the bias gathered, scaled queries and the mask added apart."""

    def __init__(self, trained: WindowBlock) -> None:
        super().__init__()
        self.norm1, self.norm2, self.mlp, self.attn = trained.norm1, trained.norm2, trained.mlp, trained.attn
        self.size, self.shift = trained.windows.size, trained.windows.shift
        self.register_buffer("attn_mask", trained.attn_mask)

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, C] for x [B, H, W, C]."""
        batch, rows, cols, dim = x.shape
        wh, ww = self.size
        y = self.norm1(x)
        if any(self.shift):
            y = torch.roll(y, (-self.shift[0], -self.shift[1]), (1, 2))
        y = y.view(batch, rows // wh, wh, cols // ww, ww, dim).permute(0, 1, 3, 2, 4, 5).reshape(-1, wh * ww, dim)
        y = self._attend(self.attn, y)
        y = y.view(batch, rows // wh, cols // ww, wh, ww, dim).permute(0, 1, 3, 2, 4, 5).reshape(batch, rows, cols, dim)
        if any(self.shift):
            y = torch.roll(y, self.shift, (1, 2))
        x = x + y
        return x + self.mlp(self.norm2(x))

    def _attend(self, attn: WindowAttention, x: Tensor) -> Tensor:
        count, tokens, dim = x.shape
        qkv = attn.qkv(x).reshape(count, tokens, 3, attn.heads, dim // attn.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0] * attn.scale, qkv[1], qkv[2]
        logits = q @ k.transpose(-2, -1) + attn.bias().unsqueeze(0)
        if self.attn_mask is not None:
            windows = self.attn_mask.shape[0]
            logits = logits.view(count // windows, windows, attn.heads, tokens, tokens)
            logits = (logits + self.attn_mask.unsqueeze(1).unsqueeze(0)).view(-1, attn.heads, tokens, tokens)
        return attn.proj((logits.softmax(dim=-1) @ v).transpose(1, 2).reshape(count, tokens, dim))
