"""The largest error of each output beside its noise floor and its limit, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slide_export.core.measurement import ArtifactTiming
from slide_export.pages.phrasing import detail, subject

from .axis import Axis, decades
from .svg import box, canvas, dot, grid, row, ruler, vertical

HEIGHT = 24


def draw(runs: Sequence[ArtifactTiming]) -> str:
    """Returns one line an output of a run with a proof, all on one axis."""
    pairs = [(run, output) for run in runs for output in (run.subject.parity or {}).get("outputs", ())]
    keys = ("max_abs", "floor_max", "limit_max")
    axis = decades([output[key] for _, output in pairs for key in keys if output[key] > 0])
    lines = (
        row(
            subject(run),
            f"{output['name']}; {detail(run)}",
            f"{output['max_abs']:.1e} of {output['limit_max']:.1e}",
            _line(output, axis),
        )
        for run, output in pairs
    )
    return "".join(lines) + ruler(axis, "")


def _line(output: Mapping[str, Any], axis: Axis) -> str:
    error, floor, limit = output["max_abs"], output["floor_max"], output["limit_max"]
    kind = "good" if error <= limit else "bad"
    parts = (
        grid(axis, HEIGHT),
        box(axis.at(floor), axis.at(limit), 4, HEIGHT - 8, "band"),
        vertical(axis.at(floor), 2, HEIGHT - 2, "tail"),
        vertical(axis.at(limit), 2, HEIGHT - 2, "limit"),
        dot(axis.at(error), HEIGHT / 2, 5, f"mark {kind}"),
    )
    return canvas(HEIGHT, parts, f"largest error {error:.2e}, noise floor {floor:.2e}, limit {limit:.2e}")
