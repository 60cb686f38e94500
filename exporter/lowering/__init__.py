"""Equivalent forms of slide attention, one file each.

A form reads a `FusedSlideAttention` and returns a module of the same function, [B, H, W, C] -> [B, H, W, C], in other
operators. `FORMS` is the ordered list of them; none registers itself.
"""

from collections.abc import Callable

from torch import nn

from slide_export.models.slide_attention import FusedSlideAttention

from .grouped import GroupedSlideAttention
from .taps import TapsSlideAttention

FORMS: dict[str, Callable[[FusedSlideAttention], nn.Module]] = {
    "grouped": GroupedSlideAttention,  # smallest graph; multiplier k*k misses most runtimes' depthwise kernels
    "taps": TapsSlideAttention,  # k*k convolutions of multiplier 1, which every runtime has a tuned kernel for
}
