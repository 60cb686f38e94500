"""Latency distributions: every call of a run as a dot, its round from top to bottom, percentiles over them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slide_export.core.measurement import ArtifactTiming
from slide_export.pages.phrasing import detail, subject

from .axis import Axis, linear
from .svg import box, canvas, grid, row, ruler, vertical

HEIGHT, TOP, BOTTOM = 40, 4, 36
FAR = 1.25  # times the largest p99: calls beyond are counted and not drawn, so that one of them squeezes no other
WIDE = 1000  # units across a cloud of dots
MOST = 400  # calls drawn of a run


def draw(runs: Sequence[ArtifactTiming]) -> str:
    """Returns one strip a run, all on one axis."""
    far = FAR * max(run.p99_ms.value for run in runs)
    near = [call for run in runs for calls in run.rounds_ms for call in calls if call <= far]
    axis = linear([*near, *(run.p50_ms.low for run in runs), *(run.p99_ms.value for run in runs)])
    strips = (row(subject(run), _detail(run, axis), f"{run.p50_ms.value:.1f} ms", _strip(run, axis)) for run in runs)
    return "".join(strips) + ruler(axis, "ms")


def _detail(run: ArtifactTiming, axis: Axis) -> str:
    beyond = [call for calls in run.rounds_ms for call in calls if call > axis.high]
    outside = f"; {len(beyond)} beyond the axis, up to {max(beyond):.0f}" if beyond else ""
    return f"{detail(run)}; p90 {run.p90_ms.value:.1f}, p99 {run.p99_ms.value:.1f}{outside}"


def _strip(run: ArtifactTiming, axis: Axis) -> str:
    p50, p90, p99 = run.p50_ms, run.p90_ms, run.p99_ms
    said = f"{subject(run)}: median {p50.value:.2f} ms, p90 {p90.value:.2f}, p99 {p99.value:.2f}"
    parts = (
        grid(axis, HEIGHT),
        _dots(run.rounds_ms, axis),
        box(axis.at(p50.low), axis.at(p50.high), TOP, BOTTOM - TOP, "interval"),
        vertical(axis.at(p50.value), 0, HEIGHT, "median"),
        vertical(axis.at(p90.value), 10, HEIGHT - 10, "tail"),
        vertical(axis.at(p99.value), 10, HEIGHT - 10, "tail"),
    )
    return canvas(HEIGHT, parts, said)


def _dots(rounds_ms: Sequence[Sequence[float]], axis: Axis) -> str:
    """Returns the calls as one path of points: the round sets the height, so that drift shows as a slope."""
    height = BOTTOM - TOP
    calls = [
        (axis.at(call) / 100 * WIDE, TOP + height * (turn + 0.5) / len(rounds_ms))
        for turn, times in enumerate(rounds_ms)
        for call in times
        if call <= axis.high
    ]
    drawn = calls[:: math.ceil(len(calls) / MOST)] if calls else []
    path = "".join(f"M{x:.0f} {y:.1f}h0" for x, y in drawn)
    view = f'viewBox="0 0 {WIDE} {HEIGHT}" preserveAspectRatio="none"'
    return f'<svg width="100%" height="{HEIGHT}" {view}><path class="calls" d="{path}"/></svg>'
