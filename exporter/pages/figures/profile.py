"""Time of a run by block of the model, stacked by kind of operator."""

from __future__ import annotations

from collections.abc import Mapping

from slide_export.benchmark.profile import by_block, by_kind
from slide_export.core.measurement import KINDS, ArtifactTiming
from slide_export.pages.visible import escaped

from .svg import box, canvas

OUTSIDE = "(no module)"
HEIGHT = 14

Times = Mapping[str, float]


def blocks(run: ArtifactTiming) -> dict[str, dict[str, float]]:
    """Milliseconds of every kind in each block, in the order of execution."""
    found = by_block(run.profile)
    return {name or OUTSIDE: {kind: times.get(kind, 0.0) for kind in KINDS} for name, times in found.items()}


def draw(run: ArtifactTiming, longest_ms: float) -> str:
    """Shares of the kinds as the legend, then one bar for each block.

    Args:
        longest_ms: time of a bar that fills the width; the same for all runs that are to be compared by eye.
    """
    whole = sum(line.ms for line in run.profile)
    legend = "".join(
        f'<li><i class="kind-{kind}"></i>{kind} <b>{time:.1f} ms</b> {time / whole:.0%}</li>'
        for kind, time in by_kind(run.profile).items()
    )
    bars = "".join(
        f"<dt>{escaped(name)}</dt><dd>{_bar(name, times, longest_ms)}<span>{sum(times.values()):.2f}</span></dd>"
        for name, times in blocks(run).items()
    )
    return f'<ul class="legend">{legend}</ul><dl class="bars">{bars}</dl>'


def _bar(name: str, times: Times, longest_ms: float) -> str:
    parts, left = [], 0.0
    for kind in KINDS:
        right = left + 100 * times[kind] / longest_ms
        if times[kind] > 0:
            parts.append(box(round(left, 3), right, 0, HEIGHT, f"kind-{kind}"))
        left = right
    description = ", ".join(f"{kind} {times[kind]:.2f} ms" for kind in KINDS)
    return canvas(HEIGHT, parts, f"{name}: {description}", "bar")
