"""k*k depthwise convolutions of multiplier 1, one a tap, over all heads' channels at once, channels first.

    logit_o = sum_c q[c] * conv_o(k)[c]       with bias b_o + r_o, relative to the middle tap, whose logit is 0
    out[c]  = sum_o a_o * conv_o(v)[c]        with bias b_o

Every tensor is rank 4 and as large as k itself; every backend has a tuned kernel for multiplier 1. The softmax over the
k*k taps is written out over separate maps: a softmax over an inner axis of k*k costs several times as much.
Source: the sum over taps of `slide_attention`, term by term.
"""

import functools
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from slide_export.models.slide_attention import FusedSlideAttention

from .folding import depthwise, qkv_by_part, relative_to_centre, tap_biases, tap_kernels


class TapsSlideAttention(nn.Module):
    """Slide attention as 2*k*k - 1 depthwise convolutions of multiplier 1."""

    def __init__(self, fused: FusedSlideAttention) -> None:
        super().__init__()
        self.width, self.dim = fused.width, fused.heads * fused.width
        self.qkv, self.proj = qkv_by_part(fused), fused.proj
        self.keys, self.values = tap_convolutions(fused)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, H, W, C] for x [B, H, W, C]."""
        _, rows, cols, _ = x.shape
        q, k, v = (part.permute(0, 3, 1, 2) for part in self.qkv(x).split(self.dim, dim=-1))  # [B, C, H, W]
        logits = [self._by_head(q * conv(k)).sum(dim=1, keepdim=True) for conv in self.keys]  # [B*nH, 1, H, W]
        out = attend(logits, (self._by_head(conv(v)) for conv in self.values))  # [B*nH, d, H, W]
        return self.proj(out.reshape(-1, self.dim, rows, cols).permute(0, 2, 3, 1))

    def _by_head(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.width, *x.shape[2:])  # [B*nH, d, H, W]


def tap_convolutions(fused: FusedSlideAttention) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Returns the k*k - 1 convolutions of keys, relative to the middle tap, and the k*k of values."""
    dim = fused.heads * fused.width
    (keys, values), (key_biases, value_biases) = tap_kernels(fused), tap_biases(fused)
    taps = (relative_to_centre(keys), relative_to_centre(key_biases)), (values, value_biases)
    of_keys, of_values = (
        nn.ModuleList(depthwise(*tap, dim) for tap in zip(kernels, biases, strict=True)) for kernels, biases in taps
    )
    return of_keys, of_values


def attend(logits: list[Tensor], values: Iterable[Tensor]) -> Tensor:
    """Returns the sum over taps of softmax weight times value.

    Args:
        logits: of every tap but the middle one, whose logit is 0, each broadcastable to a value.
        values: of every tap.
    """
    top = functools.reduce(torch.maximum, logits).clamp(min=0)
    weights = [(logit - top).exp() for logit in logits]
    weights.insert(len(weights) // 2, (-top).exp())
    weighted = functools.reduce(torch.add, (weight * value for weight, value in zip(weights, values, strict=True)))
    return weighted / functools.reduce(torch.add, weights)
