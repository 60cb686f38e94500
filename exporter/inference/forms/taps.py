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

from .folding import depthwise, head_sums, qkv_by_part, relative_to_centre, tap_biases, tap_kernels


class TapsSlideAttention(nn.Module):
    """Slide attention as 2*k*k - 1 depthwise convolutions of multiplier 1."""

    def __init__(self, fused: FusedSlideAttention) -> None:
        super().__init__()
        self.width, self.dim = fused.width, fused.heads * fused.width
        self.qkv, self.proj = qkv_by_part(fused), fused.proj
        self.keys, self.values = tap_convolutions(fused)

    def forward(self, x: Tensor) -> Tensor:
        """Attend: x [B, H, W, C] -> [B, H, W, C]."""
        _, rows, cols, _ = x.shape
        q, k, v = (part.permute(0, 3, 1, 2) for part in self.qkv(x).split(self.dim, dim=-1))  # [B, C, H, W]
        logits = [self._head_sum(q * conv(k)) for conv in self.keys]  # [B*nH, 1, H, W]
        out = attend(logits, (self._by_head(conv(v)) for conv in self.values))  # [B*nH, d, H, W]
        return self.proj(out.reshape(-1, self.dim, rows, cols).permute(0, 2, 3, 1))

    def _head_sum(self, x: Tensor) -> Tensor:
        return self._by_head(x).sum(dim=1, keepdim=True)

    def _by_head(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.width, *x.shape[2:])  # [B*nH, d, H, W]


class PointwiseTapsSlideAttention(TapsSlideAttention):
    """The same with the sum over a head's channels as a 1x1 convolution of ones, grouped by head.

    XNNPACK has no sum over channels of which ExecuTorch's partitioner would make a part: each would end one.
    """

    def __init__(self, fused: FusedSlideAttention) -> None:
        super().__init__(fused)
        self.head_sum = head_sums(fused, fused.proj.weight.new_ones(1, self.dim))

    def _head_sum(self, x: Tensor) -> Tensor:
        sums: Tensor = self.head_sum(x)  # [B, nH, H, W]
        return sums.reshape(-1, 1, *sums.shape[2:])


def tap_convolutions(fused: FusedSlideAttention) -> tuple[nn.ModuleList, nn.ModuleList]:
    """The k*k - 1 convolutions of keys, relative to the middle tap, and the k*k of values."""
    dim = fused.heads * fused.width
    (keys, values), (key_biases, value_biases) = tap_kernels(fused), tap_biases(fused)
    taps = (relative_to_centre(keys), relative_to_centre(key_biases)), (values, value_biases)
    of_keys, of_values = (
        nn.ModuleList(depthwise(*tap, dim) for tap in zip(kernels, biases, strict=True)) for kernels, biases in taps
    )
    return of_keys, of_values


def attend(logits: list[Tensor], values: Iterable[Tensor]) -> Tensor:
    """Sum over taps of softmax weight times value.

        Given   logits    l0  l1  l3  l4          (the middle tap's is 0, and not computed)
        Result  (e^l0 v0 + e^l1 v1 + e^0 v2 + e^l3 v3 + e^l4 v4) / (e^l0 + e^l1 + e^0 + e^l3 + e^l4)

    with max(0, l0, ...) taken from every exponent, so that none overflows.


    Args:
        logits: of every tap but the middle one, whose logit is 0, each broadcastable to a value.
        values: of every tap.
    """
    top = functools.reduce(torch.maximum, logits).clamp(min=0)
    weights = [(logit - top).exp() for logit in logits]
    weights.insert(len(weights) // 2, (-top).exp())
    weighted = functools.reduce(torch.add, (weight * value for weight, value in zip(weights, values, strict=True)))
    return weighted / functools.reduce(torch.add, weights)
