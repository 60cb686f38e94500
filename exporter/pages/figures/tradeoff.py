"""Speed against its price: accuracy where it was measured, else as published, else the size of the artifact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from slide_export.pages.visible import escaped

from .axis import label, linear
from .svg import canvas, dot, grid, horizontal, ruler, text

HEIGHT, MARGIN = 300, 24
RADIUS = 9
SERIES = 4  # number of colours
LEAD = 0.08  # of the width, for the levels' names
HOLLOW = "Hollow: as published by the authors, not measured here."


@dataclass(frozen=True)
class Point:
    """Run in the plane.

    Attributes:
        x: milliseconds.
        y: value of the quantity on the axis.
        series: 0 to 3; sets the colour.
        hollow: published, not measured here.
    """

    x: float
    y: float
    name: str
    series: int
    hollow: bool


def draw(points: Sequence[Point], unit: str, what: str, *, from_zero: bool) -> str:
    """Plane with numbered points, the names in a list under it: they would not fit on a phone.

    Args:
        unit: of y.
        what: name of y.
        from_zero: y begins at 0, for a quantity that is judged by its ratio rather than its difference.
    """
    across = linear([_left_of([point.x for point in points]), *(point.x for point in points)])
    most = 100.0 if unit == "%" else math.inf
    up = linear([*([0.0] * from_zero), *(point.y for point in points)], 4, most)

    def y(value: float) -> float:
        """Pixels from the top."""
        return round(HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (value - up.low) / (up.high - up.low), 1)

    levels = [
        horizontal(0, 100, y(tick), "grid") + text(0, y(tick) - 3, f"{label(tick)} {unit}", "tick") for tick in up.ticks
    ]
    marks = [
        dot(across.at(p.x), y(p.y), RADIUS, f"point {_kind(p)}")
        + text(across.at(p.x), y(p.y) + 4, str(number), f"number-in {_kind(p)}", "middle")
        for number, p in enumerate(points, 1)
    ]
    key = "".join(f"<li>{escaped(p.name)} <b>{p.x:.1f} ms</b>, {p.y:.1f} {unit}</li>" for p in points)
    description = "; ".join(f"{p.name} {p.x:.1f} ms, {p.y:g} {unit}" for p in points)
    return (
        f'<p class="axis">{what} ↑</p>'
        + canvas(HEIGHT, (grid(across, HEIGHT), *levels, *marks), description, "plane")
        + ruler(across, "ms")
        + f'<p class="axis right">median latency →</p><ol class="key">{key}</ol>'
    )


def _left_of(values: Sequence[float]) -> float:
    """Where latency begins, so that the first point does not cover what is written along the edge."""
    return max(0.0, min(values) - LEAD * (max(values) - min(values)))


def _kind(point: Point) -> str:
    return f"series-{point.series}{' hollow' * point.hollow}"
