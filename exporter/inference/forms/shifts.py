"""Everything as convolutions that a blocked channels-first layout has kernels for, so that nothing leaves that layout.

The sums over taps are swapped: the learned weights act on products of shifted maps and on softmax weights, in 1x1
convolutions grouped by head, and a shift is a depthwise convolution with one 1 in a kernel just large enough. With
w[c, o, j] and b[c, o] relative to the middle tap (see `relative_to_centre`), S_j a shift by tap j:

    logit_o = sum_j sum_c w[c, o, j] (q * S_j k)[c] + sum_c q[c] (b[c, o] + r[o])                   o != middle
    out     = sum_j S_j( u_j * v ) + b[c, middle] + sum_o b[c, o] a_o
    u_j[c]  = w[c, middle, j] + sum_o w[c, o, j] (S_-j a)_o           because the weights of all taps sum to 1

out moves S_j from v to where the sum is added up, as one convolution with a sum. ONNX Runtime's grouped NCHWc kernels
want a multiple of a vector register's floats as outputs of a group, 8 with AVX2, 16 with AVX-512 and on ARM64, and what
is none leaves the layout. k*k - 1 is a multiple of 8 for every odd k; the wide form fills it up to one of 16.
Source: the identity is in `gemm_per_tap`; zero padding makes S_j u S_-j exact at the border, as what u_j holds outside
meets a v that is shifted away.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from slide_export.models.slide_attention import FusedSlideAttention

from .folding import (
    grouped_pointwise,
    head_sums,
    linears,
    offsets,
    pointwise,
    relative_to_centre,
    tap_biases,
    tap_kernels,
)

NEVER = -1e4  # a logit whose softmax weight is exactly 0 beside one of 0, in float16 too


class ShiftsSlideAttention(nn.Module):
    """Slide attention as shifts, products and 1x1 convolutions grouped by head, channels first throughout."""

    register = 8
    """Floats of which a head's logits fill whole registers."""

    def __init__(self, fused: FusedSlideAttention) -> None:
        super().__init__()
        self.heads, self.taps = fused.heads, fused.kernel_size**2
        self.middle = self.taps // 2
        self.lanes = -(-(self.taps - 1) // self.register) * self.register  # logits of a head
        self.q, self.k, self.v = (pointwise(layer) for layer in linears(fused))
        self.proj = pointwise(fused.proj)
        self._fold_keys(fused)
        self._fold_values(fused)
        dim, away = fused.heads * fused.width, offsets(fused.kernel_size)
        kind = fused.dep_conv.weight.dtype
        self.shift_keys = nn.ModuleList(Shift(dim, *offset, kind) for offset in away)
        self.shift_weights = nn.ModuleList(Shift(self.lanes * fused.heads, -dy, -dx, kind) for dy, dx in away)
        self.shift_sums = nn.ModuleList(Shift(dim, *offset, kind) for offset in away)

    def _fold_keys(self, fused: FusedSlideAttention) -> None:
        kernels, biases = (self._relative(both[0]) for both in (tap_kernels(fused), tap_biases(fused)))
        starts = biases.new_zeros(self.heads, self.lanes)
        starts[:, self.taps - 1 :] = NEVER
        self.sum_biases = head_sums(fused, biases, starts.flatten() if self.lanes >= self.taps else None)
        self.sums = nn.ModuleList(head_sums(fused, of_tap) for of_tap in kernels.flatten(2).permute(2, 0, 1))

    def _fold_values(self, fused: FusedSlideAttention) -> None:
        kernels, biases = tap_kernels(fused)[1], tap_biases(fused)[1]
        kernels = kernels.flatten(2)  # [k*k, C, k*k]
        weights, starts = self._relative(kernels).permute(2, 1, 0), kernels[self.middle].T  # j first
        self.spread_biases = grouped_pointwise(self._relative(biases).T, biases[self.middle], fused.heads)
        self.spreads = nn.ModuleList(
            grouped_pointwise(weight, start, fused.heads) for weight, start in zip(weights, starts, strict=True)
        )

    def _relative(self, per_tap: Tensor) -> Tensor:
        """Make taps relative to the middle one and fill up with zeros: [k*k, ...] -> [lanes, ...]."""
        away = relative_to_centre(per_tap)
        return torch.cat((away, away.new_zeros(self.lanes - len(away), *away.shape[1:])))

    def forward(self, x: Tensor) -> Tensor:
        """Attend: x [B, H, W, C] -> [B, H, W, C]."""
        x = x.permute(0, 3, 1, 2)
        q, k, v = self.q(x), self.k(x), self.v(x)  # [B, C, H, W]
        logits = self.sum_biases(q)  # [B, nH * lanes, H, W]
        for shift, head_sum in zip(self.shift_keys, self.sums, strict=True):
            logits = head_sum(q * shift(k)) + logits
        weights = self._softmax(logits)
        out = self.spread_biases(weights) + self.spreads[self.middle](weights) * v
        for tap, spread in enumerate(self.spreads):
            if tap != self.middle:
                out = self.shift_sums[tap](spread(self.shift_weights[tap](weights)) * v) + out
        return self.proj(out).permute(0, 2, 3, 1)

    def _softmax(self, logits: Tensor) -> Tensor:
        """Weights of all taps but the middle one, whose logit is 0, in the shape of their logits."""
        _, channels, rows, cols = logits.shape
        logits = logits.reshape(-1, self.heads, self.lanes, rows * cols)
        top = logits.amax(dim=2, keepdim=True).clamp(min=0)
        weights = (logits - top).exp()
        weights = weights / (weights.sum(dim=2, keepdim=True) + (-top).exp())
        return weights.reshape(-1, channels, rows, cols)


class WideShiftsSlideAttention(ShiftsSlideAttention):
    """The same for registers of 16 floats."""

    register = 16


class Shift(nn.Module):
    """out(y, x) = in(y + rows, x + cols), zero outside: a depthwise convolution with a single 1.

    The kernel spans the middle and the tap alone, 2 numbers for a neighbour in line and 4 for a diagonal one.

        Given   rows=0, cols=1    kernel [[0 1]], one column of zeros added on the right
        Result  1 2 3  ->  2 3 0
    """

    def __init__(self, channels: int, rows: int, cols: int, kind: torch.dtype) -> None:
        super().__init__()
        self.padding = (max(-cols, 0), max(cols, 0), max(-rows, 0), max(rows, 0))
        kernel = torch.zeros(channels, 1, 1 + abs(rows), 1 + abs(cols), dtype=kind)
        kernel[..., max(rows, 0), max(cols, 0)] = 1
        self.kernel = nn.Parameter(kernel, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shift: x [B, C, H, W] -> [B, C, H, W]."""
        if not any(self.padding):
            return x
        return functional.conv2d(functional.pad(x, self.padding), self.kernel, groups=len(self.kernel))
