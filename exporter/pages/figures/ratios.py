"""Ratios of two runs with their intervals, beside 1 and the band that counts as the same."""

from __future__ import annotations

from collections.abc import Sequence

from slide_export.core.measurement import BenchmarkResult, Comparison
from slide_export.pages.phrasing import subject

from .axis import Axis, linear
from .svg import box, canvas, dot, grid, horizontal, row, ruler, vertical

HEIGHT = 20


def draw(result: BenchmarkResult, comparisons: Sequence[Comparison]) -> str:
    """Returns one line a comparison, all on one axis."""
    within = result.protocol.same_within
    ends = [end for found in comparisons for end in (found.ratio.low, found.ratio.high)]
    axis = linear([*ends, 1 - 2 * within, 1 + 2 * within])
    lines = (
        row(
            subject(result.runs[found.a]),
            f"over {subject(result.runs[found.b])} ({result.runs[found.a].subject.target})",
            f"{found.ratio.value:.2f}, {found.verdict}",
            _line(found, axis, within),
        )
        for found in comparisons
    )
    return "".join(lines) + ruler(axis, "times")


def _line(found: Comparison, axis: Axis, within: float) -> str:
    ratio = found.ratio
    kind = {"faster": "good", "slower": "bad"}.get(found.verdict, "open")
    parts = (
        grid(axis, HEIGHT),
        box(axis.at(1 - within), axis.at(1 + within), 0, HEIGHT, "band"),
        vertical(axis.at(1), 0, HEIGHT, "unity"),
        horizontal(axis.at(ratio.low), axis.at(ratio.high), HEIGHT / 2, f"whisker {kind}"),
        dot(axis.at(ratio.value), HEIGHT / 2, 4.5, f"mark {kind}"),
    )
    return canvas(HEIGHT, parts, f"ratio {ratio.value:.3f}, interval {ratio.low:.3f} to {ratio.high:.3f}")
