"""`taps` with everything but the convolutions in token layout: [B, HW, nH, d], the channels of a head last.

A runtime whose convolutions are channels last inside (oneDNN's for AVX2, so OpenVINO's) takes the transposes around
them for free. The sum over a head's channels is over the last axis, and a tap's weight is broadcast along it: both are
what vector units are for. q, k and v are products of their own, so nothing is split.
"""

from torch import Tensor, nn

from slide_export.models.slide_attention import FusedSlideAttention

from .folding import head_sums, linears
from .taps import attend, tap_convolutions


class TokenTapsSlideAttention(nn.Module):
    """Slide attention as 2*k*k - 1 depthwise convolutions between products in token layout."""

    def __init__(self, fused: FusedSlideAttention) -> None:
        super().__init__()
        self.heads, self.width = fused.heads, fused.width
        self.q, self.k, self.v = linears(fused)
        self.proj = fused.proj
        self.keys, self.values = tap_convolutions(fused)

    def forward(self, x: Tensor) -> Tensor:
        """Attend: x [B, H, W, C] -> [B, H, W, C]."""
        _, rows, cols, _ = x.shape
        k, v = (layer(x).permute(0, 3, 1, 2) for layer in (self.k, self.v))  # [B, C, H, W]
        logits = self._logits(self.q(x), k)
        values = [self._by_head(conv(v).permute(0, 2, 3, 1)) for conv in self.values]
        out = attend(logits, values)  # [B, HW, nH, d]
        return self.proj(out.reshape(-1, rows, cols, self.heads * self.width))

    def _logits(self, q: Tensor, k: Tensor) -> list[Tensor]:
        """Of every tap but the middle one, [B, HW, nH, 1], from q [B, H, W, C] and k [B, C, H, W]."""
        q = self._by_head(q)
        return [(q * self._by_head(conv(k).permute(0, 2, 3, 1))).sum(dim=-1, keepdim=True) for conv in self.keys]

    def _by_head(self, x: Tensor) -> Tensor:
        return x.reshape(-1, x.shape[1] * x.shape[2], self.heads, self.width)  # [B, HW, nH, d]


class SummedTapsSlideAttention(TokenTapsSlideAttention):
    """The same with the sum over a head's channels as a 1x1 convolution of ones, grouped by head.

    OpenVINO's reduction over a last axis of d reads a fifth of what its convolution does in the same time, and with
    bfloat16 it has float32 reorders around it.
    """

    def __init__(self, fused: FusedSlideAttention) -> None:
        super().__init__(fused)
        self.head_sum = head_sums(fused, fused.proj.weight.new_ones(1, self.heads * self.width))

    def _logits(self, q: Tensor, k: Tensor) -> list[Tensor]:
        q = q.permute(0, 3, 1, 2)
        sums = (self.head_sum(q * conv(k)).permute(0, 2, 3, 1) for conv in self.keys)  # [B, H, W, nH]
        return [logit.reshape(-1, logit.shape[1] * logit.shape[2], self.heads, 1) for logit in sums]
