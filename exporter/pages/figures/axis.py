"""Axis: quantity -> percentage of the drawing's width, with round ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
INSET = 1.5  # percent left free at both ends, so that no mark is cut


@dataclass(frozen=True)
class Axis:
    """Scale from `low` to `high`.

    Attributes:
        ticks: labelled values.
        logarithmic: equal ratios take equal lengths.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Position of a value in percent; a value beyond an end stands at that end."""
        low, high, value = (
            (math.log10(v) for v in (self.low, self.high, max(value, self.low)))
            if self.logarithmic
            else (self.low, self.high, value)
        )
        share = (value - low) / (high - low)
        return round(INSET + (100 - 2 * INSET) * min(1.0, max(0.0, share)), 2)


def linear(values: Sequence[float], ticks: int = 5, most: float = math.inf) -> Axis:
    """Linear axis between round numbers that contains the values, with about `ticks` ticks.

    Args:
        most: that a value can be: the axis does not go beyond it.
    """
    low, high = min(values), max(values)
    if high <= low:
        low, high = (low - abs(low) * 0.05, min(most, high + abs(high) * 0.05)) if low else (-1.0, 1.0)
    raw = (high - low) / ticks
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step * power for step in STEPS if step * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    marks = tuple(round(n * step, 12) for n in range(first, last + 1))
    within = tuple(mark for mark in marks if mark <= most)
    return Axis(marks[0], min(marks[-1], most), within)


def decades(values: Sequence[float]) -> Axis:
    """Logarithmic axis of whole decades that contains the values, all above 0."""
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    last = max(last, first + 1)
    stride = max(1, math.ceil((last - first) / 6))
    return Axis(10.0**first, 10.0**last, tuple(10.0**n for n in range(first, last + 1, stride)), logarithmic=True)


def label(value: float) -> str:
    """Label of a tick: 0.5, 20, 1e-06."""
    return f"{value:g}"
