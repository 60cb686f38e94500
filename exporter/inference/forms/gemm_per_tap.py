"""Slide attention with the learned kernel factored out: shift, multiply, then one grouped 1x1 convolution per tap.

    logit_o = sum_j sum_c W[c, o, j] (q * S_j k)[c] + sum_c q[c] (b[c, o] + r[o])
    out[c]  = sum_j (sum_o W[c, o, j] a_o) * (S_j v)[c] + sum_o b[c, o] a_o

S_j x is x seen from tap j, a slice of the map with zeros around it. The fewest bytes at a time of all forms: fastest in
eager PyTorch.
Source: K_o[c] = sum_j W[c, o, j] (S_j k)[c] + b[c, o] put into `slide_attention`, the sum over j drawn out.
"""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional

from slide_export.models.slide_attention import FusedSlideAttention

from .folding import grouped_pointwise, head_sums, offsets, qkv_by_part, tap_biases, tap_kernels


class GemmPerTapSlideAttention(nn.Module):
    """Slide attention as k*k pairs of products and 1x1 convolutions grouped by head, channels first."""

    def __init__(self, fused: FusedSlideAttention) -> None:
        super().__init__()
        self.heads, self.dim, self.kernel_size = fused.heads, fused.heads * fused.width, fused.kernel_size
        self.qkv, self.proj = qkv_by_part(fused), fused.proj
        (keys, values), (key_biases, value_biases) = tap_kernels(fused), tap_biases(fused)
        self.sum_biases = head_sums(fused, key_biases)
        self.sums = nn.ModuleList(head_sums(fused, of_tap) for of_tap in keys.flatten(2).permute(2, 0, 1))
        self.spread_biases = grouped_pointwise(value_biases.T, None, fused.heads)
        self.spreads = nn.ModuleList(
            grouped_pointwise(of_tap, None, fused.heads) for of_tap in values.flatten(2).permute(2, 1, 0)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Attend: x [B, H, W, C] -> [B, H, W, C]."""
        _, rows, cols, _ = x.shape
        q, k, v = (part.permute(0, 3, 1, 2) for part in self.qkv(x).split(self.dim, dim=-1))  # [B, C, H, W]
        logits = self.sum_biases(q)  # [B, nH*k*k, H, W]
        for head_sum, seen in zip(self.sums, shifted(k, self.kernel_size), strict=True):
            logits = logits + head_sum(q * seen)
        by_head = logits.reshape(-1, self.heads, self.kernel_size**2, rows * cols)
        weights = by_head.softmax(dim=2).reshape(logits.shape)
        out = self.spread_biases(weights)
        for spread, seen in zip(self.spreads, shifted(v, self.kernel_size), strict=True):
            out = out + spread(weights) * seen
        return self.proj(out.permute(0, 2, 3, 1))


def shifted(x: Tensor, kernel_size: int) -> Iterator[Tensor]:
    """Slice x [B, C, H, W] as each tap sees it, zero outside the map; all k*k, in the order of `offsets`.

    Given   1 2    padded  0 0 0 0     tap (-1, 0)  0 0     tap (0, 1)  2 0
            3 4            0 1 2 0     sees above   1 2     sees right  4 0
                           0 3 4 0
                           0 0 0 0
    """
    _, _, rows, cols = x.shape
    half = kernel_size // 2
    x = functional.pad(x, (half,) * 4)
    for dy, dx in offsets(kernel_size):
        yield x[:, :, half + dy : half + dy + rows, half + dx : half + dx + cols]
