"""Equivalent forms of slide attention, one file each.

A form reads a `FusedSlideAttention` and returns a module of the same function, [B, H, W, C] -> [B, H, W, C], in other
operators. `FORMS` is the ordered list of them; none registers itself.
"""

from collections.abc import Callable

from torch import nn

from slide_export.models.slide_attention import FusedSlideAttention

from .gemm_per_tap import GemmPerTapSlideAttention
from .gemm_stacked import GemmStackedSlideAttention
from .gemm_stacked_tokens import GemmStackedTokensSlideAttention
from .grouped import GroupedSlideAttention
from .shifts import ShiftsSlideAttention, WideShiftsSlideAttention
from .taps import TapsSlideAttention
from .token_taps import TokenTapsSlideAttention

FORMS: dict[str, Callable[[FusedSlideAttention], nn.Module]] = {
    "grouped": GroupedSlideAttention,  # smallest graph; multiplier k*k misses most runtimes' depthwise kernels
    "taps": TapsSlideAttention,  # k*k convolutions of multiplier 1, which every runtime has a tuned kernel for
    "token_taps": TokenTapsSlideAttention,  # the same between products in token layout, for channels-last convolutions
    "shifts": ShiftsSlideAttention,  # nothing leaves the blocked channels-first layout of AVX2
    "wide_shifts": WideShiftsSlideAttention,  # nor of AVX-512 and ARM64, at the price of logits without a tap
    "gemm_per_tap": GemmPerTapSlideAttention,  # fewest bytes at a time
    "gemm_stacked": GemmStackedSlideAttention,  # largest products, channels first
    "gemm_stacked_tokens": GemmStackedTokensSlideAttention,  # the same in token layout, no convolution at all
}
