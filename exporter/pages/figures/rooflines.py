"""Median of each run beside the limits that the machine sets it: products and bytes."""

from __future__ import annotations

from collections.abc import Sequence

from slide_export.benchmark.roofline import Roofline
from slide_export.core.measurement import ArtifactTiming
from slide_export.pages.phrasing import detail, model_name

from .axis import Axis, linear
from .svg import box, canvas, dot, grid, row, ruler, vertical

HEIGHT = 20


def draw(found: Sequence[tuple[ArtifactTiming, Roofline]]) -> str:
    """One line for each run, all on one axis that begins at 0."""
    axis = linear([0.0, *(value for _, one in found for value in (one.measured_ms, one.limit_ms))])
    lines = (
        row(model_name(run), f"{detail(run)}, batch {run.batch}, {one.kind}", f"{one.factor:.1f} ×", _line(one, axis))
        for run, one in found
    )
    return "".join(lines) + ruler(axis, "ms")


def _line(one: Roofline, axis: Axis) -> str:
    parts = (
        grid(axis, HEIGHT),
        box(axis.at(0), axis.at(one.limit_ms), 0, HEIGHT, "band"),
        vertical(axis.at(one.products_ms), 0, HEIGHT, "limit"),
        vertical(axis.at(one.reading_ms), 4, HEIGHT - 4, "tail"),
        dot(axis.at(one.measured_ms), HEIGHT / 2, 4.5, "mark open"),
    )
    said = f"median {one.measured_ms:.2f} ms, products {one.products_ms:.2f} ms, bytes {one.reading_ms:.2f} ms"
    return canvas(HEIGHT, parts, said)
