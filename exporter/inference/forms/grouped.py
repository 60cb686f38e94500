"""One depthwise convolution with channel multiplier k*k, over all heads' channels at once: what the paper draws.

    K = conv(k; W, b + r)      V = conv(v; W, b)      [B, C*k*k, H, W], output channel c*k*k + o
    logit_o = sum_c q[c] K_o[c]      out[c] = sum_o softmax(logit)_o V_o[c]

The position bias r of a head goes into the bias of the keys' convolution, so keys and values have one each. Every
tensor is rank 4: heads stay in the batch axis.
Source: Slide-Transformer (CVPR 2023), section 4.2, re-parameterization.
"""

from torch import Tensor, nn

from slide_export.models.slide_attention import FusedSlideAttention

from .folding import depthwise, qkv_by_part, tap_biases, tap_kernels


class GroupedSlideAttention(nn.Module):
    """Slide attention as two depthwise convolutions of multiplier k*k."""

    def __init__(self, fused: FusedSlideAttention) -> None:
        super().__init__()
        self.width, self.taps, self.dim = fused.width, fused.kernel_size**2, fused.heads * fused.width
        self.qkv, self.proj = qkv_by_part(fused), fused.proj
        kernels = (kernel.transpose(0, 1).flatten(0, 1) for kernel in tap_kernels(fused))  # [C*k*k, 1, k, k]
        biases = (bias.T.flatten() for bias in tap_biases(fused))  # [C*k*k]
        self.keys, self.values = (depthwise(*both, self.dim) for both in zip(kernels, biases, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, H, W, C] for x [B, H, W, C]."""
        _, rows, cols, _ = x.shape
        q, k, v = self.qkv(x).permute(0, 3, 1, 2).split(self.dim, dim=1)  # [B, C, H, W]
        size = rows * cols
        q = q.reshape(-1, self.width, 1, size)  # [B*nH, d, 1, HW]
        k = self.keys(k).reshape(-1, self.width, self.taps, size)  # [B*nH, d, k*k, HW]
        v = self.values(v).reshape(-1, self.width, self.taps, size)  # [B*nH, d, k*k, HW]
        attention = (q * k).sum(dim=1, keepdim=True).softmax(dim=2)  # [B*nH, 1, k*k, HW]
        out = (attention * v).sum(dim=2).reshape(-1, self.dim, rows, cols)  # [B, C, H, W]
        return self.proj(out.permute(0, 2, 3, 1))
