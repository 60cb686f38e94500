"""Equivalent forms of slide attention, one file each, and the forms in which a deformable attention samples.

A form reads a fused attention and is a module of the same function, [B, H, W, C] -> [B, H, W, C], in other operators.
`FORMS` is the ordered list of those of slide attention, `SAMPLINGS` of deformable attention; none registers itself. A
form's file is imported when the form is made, so that whoever only names the forms imports no torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

if TYPE_CHECKING:
    from torch import nn

Form: TypeAlias = "Callable[[Any], nn.Module]"

NATIVE = "native"
"""The form whose graph has an operator that no runtime has by itself."""


def _form(file: str, kind: str) -> Form:
    """The class `kind` of a file in this folder, imported when it is first made."""

    def make(fused: Any) -> nn.Module:
        """Import the form's file and build the module."""
        module = importlib.import_module(f"{__name__}.{file}")
        return cast("nn.Module", getattr(module, kind)(fused))

    return make


FORMS: dict[str, Form] = {
    # Smallest graph; multiplier k*k misses most runtimes' depthwise kernels.
    "grouped": _form("grouped", "GroupedSlideAttention"),
    # k*k convolutions of multiplier 1, which every runtime has a tuned kernel for.
    "taps": _form("taps", "TapsSlideAttention"),
    # The same with a head's sums as convolutions, for a runtime to which a sum ends a part.
    "pointwise_taps": _form("taps", "PointwiseTapsSlideAttention"),
    # `taps` between products in token layout, for channels-last convolutions.
    "token_taps": _form("token_taps", "TokenTapsSlideAttention"),
    # Those with a head's sums as convolutions, where these are faster than reductions.
    "summed_taps": _form("token_taps", "SummedTapsSlideAttention"),
    # Nothing leaves the blocked channels-first layout of AVX2.
    "shifts": _form("shifts", "ShiftsSlideAttention"),
    # Nor of AVX-512 and ARM64, at the price of logits without a tap.
    "wide_shifts": _form("shifts", "WideShiftsSlideAttention"),
    # One operator of our own, for targets that load it from a library that is built here.
    NATIVE: _form("native", "NativeSlideAttention"),
    # Fewest bytes at a time.
    "gemm_per_tap": _form("gemm_per_tap", "GemmPerTapSlideAttention"),
}

SAMPLINGS: dict[str, Form] = {
    # Products with hat functions: matrix products and element-wise operators alone.
    "hats": _form("sampled", "hats"),
    # One operator, which CoreML has on the CPU alone.
    "grid_sample": _form("sampled", "grid_sample"),
}
"""The forms of a deformable attention: how it samples the map and its position biases."""
