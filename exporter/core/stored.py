"""A constant of an artifact, and how far what was stored may lie from what its element type keeps of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .artifact import Array


ATTRIBUTE = "attribute"
"""In the place of the element type of what is no tensor: an epsilon or an axis of an operator."""
BFLOAT16, BFLOAT16_MAX = "bfloat16", np.float32(3.3895314e38)
ONE_STEP = 1 << 16
"""Of float32's bits: the next bfloat16."""
SLACK = 1e-3
"""Of half a step: scales are themselves stored in float32, and libraries divide by them in float32."""


@dataclass(frozen=True)
class StoredConstant:
    """A constant of an artifact as its runtime expands it, with the values that its stored type cannot tell from it.

    Attributes:
        name: the artifact's own; it has the name that the float build has for it in it.
        stored: element type: "float16".
        values: what it stands for: of an 8-bit weight, scale * (stored - zero point).
        below, above: how far a value that was stored as this one may have been from it; broadcast to `values`.
        module: dotted path of the PyTorch module that uses it, "" where the artifact does not tell.
    """

    name: str
    stored: str
    values: Array
    below: Array
    above: Array
    module: str = ""


def exact(name: str, values: Array, module: str = "", stored: str = "") -> StoredConstant:
    """A tensor that its type stores as it is: integers, and attributes."""
    nothing = np.zeros((), np.float64)
    return StoredConstant(name, stored or str(values.dtype), values, nothing, nothing, module)


def rounded_float(name: str, stored: str, values: Array, module: str = "") -> StoredConstant:
    """A tensor in a float type, rounded to the nearest.

    1. One number may be infinite for what is beyond the type.
    2. A number may be the smallest of the type for what is smaller yet: of a constant with less than 400 values
       coremltools lets none become zero (Source: `_check_underflow_to_zero` of its float16 pass).

    Args:
        stored: the type; `values` may have been expanded from it.
    """
    if stored == BFLOAT16:
        size, largest = np.abs(values).astype(np.float32), BFLOAT16_MAX
        within = np.minimum(size, largest)
        down, up = _bfloat16_gaps(within)
    else:
        size, largest = np.abs(values).astype(stored), np.finfo(stored).max
        within = np.minimum(size, largest)
        down = within - np.nextafter(within, np.zeros((), stored))
        with np.errstate(over="ignore"):  # beyond the largest of the type there is nothing
            up = np.nextafter(within, np.full((), np.inf, stored)) - within
    half = np.where(np.isfinite(up), up, down).astype(np.float64) * (0.5 + SLACK)
    if np.size(values) == 1 and np.isinf(size).all():  # Case 1: a bound that bounds nothing
        sign = np.sign(values)
        below, above = np.where(sign < 0, np.inf, half), np.where(sign > 0, np.inf, half)
        return StoredConstant(name, stored, sign * np.float64(largest), below, above, module)
    inwards = np.where(size == down, down.astype(np.float64), half)  # Case 2: the next number below is zero
    below, above = np.where(values > 0, inwards, half), np.where(values < 0, inwards, half)
    return StoredConstant(name, stored, values, below, above, module)


def _bfloat16_gaps(size: Array) -> tuple[Array, Array]:
    """Distances from bfloat16 numbers >= 0 to their neighbours; NumPy has no such type.

    Its bits are the upper half of float32's, so the neighbours are one step of the upper half away.
    """
    bits = np.ascontiguousarray(size, np.float32).view(np.uint32).astype(np.int64)
    below, above = ((np.maximum(bits, ONE_STEP) + step).astype(np.uint32) for step in (-ONE_STEP, ONE_STEP))
    return size - below.view(np.float32), above.view(np.float32) - size


def stepped(
    name: str, stored: str, data: Array, scale: Array, zero: Array, module: str = "", scale_type: str = "float32"
) -> StoredConstant:
    """A tensor stored as integers: scale * (data - zero), the scale broadcast to the data.

    The ends of the type may stand for values up to a whole step beyond: NNCF takes max |w| / 128 as scale, of
    either sign, and 127 for what would be 128. A scale that is stored in float16 is itself rounded, and coremltools
    rounds the weights to that type before.
    """
    values, ends = scale * (data.astype(np.float64) - zero), np.iinfo(data.dtype)
    rounding = 2 * float(np.finfo(scale_type).eps) * np.abs(values)
    half, step = np.abs(scale) * (0.5 + SLACK) + rounding, np.abs(scale) * (1 + SLACK) + rounding
    low, high = np.where(data == ends.min, step, half), np.where(data == ends.max, step, half)
    below, above = np.where(scale < 0, high, low), np.where(scale < 0, low, high)
    return StoredConstant(name, stored, values, below, above, module)


def from_table(name: str, stored: str, values: Array, table: Array, module: str = "") -> StoredConstant:
    """A tensor whose values are entries of a table: each is the nearest, so half-way to its neighbours.

    Given    table 0 1 4     values 1
    Result   below 0.5, above 1.5
    """
    entries = np.unique(table.astype(np.float64))
    gaps = np.diff(entries) * (0.5 + SLACK)
    lower, upper = np.r_[np.inf, gaps], np.r_[gaps, np.inf]
    index = np.searchsorted(entries, values.astype(np.float64))
    return StoredConstant(name, stored, values, lower[index], upper[index], module)
