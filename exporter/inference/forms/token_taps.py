"""`taps` with everything but the convolutions in token layout: [B, HW, nH, d], the channels of a head last.

A runtime whose convolutions are channels last inside (oneDNN's for AVX2, so OpenVINO's) takes the transposes around
them for free. The sum over a head's channels is over the last axis, and a tap's weight is broadcast along it: both are
what vector units are for. q, k and v are products of their own, so nothing is split.
"""

from torch import Tensor, nn

from slide_export.models.slide_attention import FusedSlideAttention

from .folding import linears
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
        """Returns [B, H, W, C] for x [B, H, W, C]."""
        _, rows, cols, _ = x.shape
        k, v = (layer(x).permute(0, 3, 1, 2) for layer in (self.k, self.v))  # [B, C, H, W]
        q = self._by_head(self.q(x))
        keys, values = (
            [self._by_head(conv(part).permute(0, 2, 3, 1)) for conv in convs]
            for part, convs in ((k, self.keys), (v, self.values))
        )
        out = attend([(q * key).sum(dim=-1, keepdim=True) for key in keys], values)  # [B, HW, nH, d]
        return self.proj(out.reshape(-1, rows, cols, self.heads * self.width))

    def _by_head(self, x: Tensor) -> Tensor:
        return x.reshape(-1, x.shape[1] * x.shape[2], self.heads, self.width)  # [B, HW, nH, d]
