"""`gemm_stacked` in token layout: the products are matrix products over tokens, the heads' channels last.

    logits [N*nH, k*k] = (q * S k) [N*nH, k*k*d] Wk        out = sum_j (a Wv)_j * S_j v

Keys of every head share their weights, so heads are rows of one product; values do unless they have a convolution of
their own, when there is a product a head.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from slide_export.models.slide_attention import FusedSlideAttention

from .folding import linears, offsets, tap_biases, tap_kernels


class GemmStackedTokensSlideAttention(nn.Module):
    """Slide attention as two large matrix products over stacked shifts, channels last."""

    sums: Tensor
    sum_biases: Tensor
    spreads: Tensor
    spread_biases: Tensor

    def __init__(self, fused: FusedSlideAttention) -> None:
        super().__init__()
        self.heads, self.width, self.kernel_size = fused.heads, fused.width, fused.kernel_size
        self.taps = fused.kernel_size**2
        self.q, self.k, self.v = linears(fused)
        self.proj = fused.proj
        (keys, values), (key_biases, value_biases) = tap_kernels(fused), tap_biases(fused)
        of_head = keys[:, : fused.width].flatten(2)  # [o, d, j]: the same for every head
        self.register_buffer("sums", of_head.permute(2, 1, 0).flatten(0, 1).contiguous())  # [k*k*d, k*k]
        self.register_buffer("sum_biases", self._by_head(key_biases.T).transpose(1, 2).contiguous())  # [nH, k*k, d]
        heads = 1 if fused.value_conv is None else fused.heads
        wide = values.flatten(2).permute(0, 2, 1)  # [o, j, C]
        wide = wide.reshape(self.taps, self.taps, fused.heads, fused.width)[:, :, :heads].permute(2, 0, 1, 3)
        self.register_buffer("spreads", wide.flatten(2).contiguous())  # [1 or nH, k*k, k*k*d]
        of_values = self._by_head(value_biases.T)[:heads].transpose(1, 2)
        self.register_buffer("spread_biases", of_values.contiguous())  # [1 or nH, k*k, d]

    def _by_head(self, rows: Tensor) -> Tensor:
        return rows.reshape(self.heads, self.width, -1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, H, W, C] for x [B, H, W, C]."""
        _, rows, cols, _ = x.shape
        q = self.q(x).reshape(-1, self.heads, 1, self.width)  # [N, nH, 1, d], N = B*H*W
        stack = (q * self._stack(self.k(x))).reshape(-1, self.heads, self.taps * self.width)
        biases = (q * self.sum_biases).sum(dim=-1)  # [N, nH, k*k]
        weights = (stack @ self.sums + biases).softmax(dim=-1)  # [N, nH, k*k]
        spread = self._of_every_head(weights, self.spreads).reshape(-1, self.heads, self.taps, self.width)
        out = (spread * self._stack(self.v(x))).sum(dim=2) + self._of_every_head(weights, self.spread_biases)
        return self.proj(out.reshape(-1, rows, cols, self.heads * self.width))

    def _stack(self, x: Tensor) -> Tensor:
        """Returns x [B, H, W, C] as every tap sees it, [N, nH, k*k, d]."""
        _, rows, cols, _ = x.shape
        half = self.kernel_size // 2
        x = functional.pad(x, (0, 0, half, half, half, half))
        seen = [x[:, half + dy :, half + dx :][:, :rows, :cols] for dy, dx in offsets(self.kernel_size)]
        return torch.cat([part.reshape(-1, self.heads, 1, self.width) for part in seen], dim=2)

    def _of_every_head(self, weights: Tensor, matrices: Tensor) -> Tensor:
        """Returns weights [N, nH, k*k] times the one matrix, or each head's own, [1 or nH, k*k, n]."""
        if matrices.shape[0] == 1:
            return weights @ matrices[0]
        by_head = [weights[:, head : head + 1] @ matrix for head, matrix in enumerate(matrices)]
        return torch.cat(by_head, dim=1)
