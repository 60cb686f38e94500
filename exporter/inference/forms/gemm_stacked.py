"""`gemm_per_tap` with all shifts stacked: one product of depth d*k*k for the logits, one back for the values.

    logit = Wk [k*k, d*k*k] (q * S k)        out[c] = sum_j (Wv [d*k*k, k*k] a)[c, j] * (S_j v)[c]

Channels first: the products are 1x1 convolutions grouped by head, and the stack is one concatenation.
"""

import torch
from torch import Tensor, nn

from slide_export.models.slide_attention import FusedSlideAttention

from .folding import grouped_pointwise, qkv_by_part, tap_biases, tap_kernels
from .gemm_per_tap import head_sums, shifted


class GemmStackedSlideAttention(nn.Module):
    """Slide attention as two large grouped 1x1 convolutions over stacked shifts, channels first."""

    def __init__(self, fused: FusedSlideAttention) -> None:
        super().__init__()
        self.heads, self.dim, self.kernel_size = fused.heads, fused.heads * fused.width, fused.kernel_size
        self.taps = fused.kernel_size**2
        self.qkv, self.proj = qkv_by_part(fused), fused.proj
        (keys, values), (key_biases, value_biases) = tap_kernels(fused), tap_biases(fused)
        by_head = keys.reshape(self.taps, fused.heads, fused.width * self.taps).transpose(0, 1)  # [nH, k*k, d*k*k]
        self.sums = grouped_pointwise(by_head.flatten(0, 1), None, fused.heads)
        self.sum_biases = head_sums(fused, key_biases)
        self.spreads = grouped_pointwise(values.flatten(2).permute(1, 2, 0).flatten(0, 1), None, fused.heads)
        self.spread_biases = grouped_pointwise(value_biases.T, None, fused.heads)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, H, W, C] for x [B, H, W, C]."""
        _, rows, cols, _ = x.shape
        q, k, v = (part.permute(0, 3, 1, 2) for part in self.qkv(x).split(self.dim, dim=-1))  # [B, C, H, W]
        stack = (q.reshape(-1, self.dim, 1, rows * cols) * self._stack(k)).reshape(-1, self.dim * self.taps, rows, cols)
        logits = self.sums(stack) + self.sum_biases(q)  # [B, nH*k*k, H, W]
        by_head = logits.reshape(-1, self.heads, self.taps, rows * cols)
        weights = by_head.softmax(dim=2).reshape(logits.shape)
        spread = self.spreads(weights).reshape(-1, self.dim, self.taps, rows * cols)
        out = (spread * self._stack(v)).sum(dim=2).reshape(-1, self.dim, rows, cols) + self.spread_biases(weights)
        return self.proj(out.permute(0, 2, 3, 1))

    def _stack(self, x: Tensor) -> Tensor:
        size = x.shape[2] * x.shape[3]
        seen = [part.reshape(-1, self.dim, 1, size) for part in shifted(x, self.kernel_size)]
        return torch.cat(seen, dim=2)  # [B, C, k*k, HW]
