"""Largest error of each output with its noise floor and its limit, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slide_export.core.measurement import ArtifactTiming
from slide_export.pages.phrasing import detail, is_number, model_name, shown

from .axis import Axis, decades
from .svg import box, canvas, dot, grid, row, ruler, vertical

HEIGHT = 24


def draw(runs: Sequence[ArtifactTiming]) -> str:
    """One line for each output of a run with a proof, all on one axis."""
    pairs = [(run, output) for run in runs for output in (run.subject.parity or {}).get("outputs", ())]
    keys = ("max_abs", "floor_max", "limit_max")
    drawn = {id(output) for _, output in pairs if all(is_number(output[key]) for key in keys)}
    above = [output[key] for _, output in pairs for key in keys if id(output) in drawn and output[key] > 0]
    axis = decades(above or [1.0])
    lines = (
        row(
            model_name(run),
            f"{output['name']}; {detail(run)}",
            f"{shown(output['max_abs'], '.1e')} of {shown(output['limit_max'], '.1e')}",
            _line(output, axis, passed=(run.subject.parity or {})["passed"])
            if id(output) in drawn
            else canvas(HEIGHT, (grid(axis, HEIGHT),), "not finite"),
        )
        for run, output in pairs
    )
    return "".join(lines) + ruler(axis, "")


def _line(output: Mapping[str, Any], axis: Axis, *, passed: bool) -> str:
    error, floor, limit = output["max_abs"], output["floor_max"], output["limit_max"]
    kind = "good" if passed and error <= limit else "bad"  # other bounds than this limit may have refused it
    parts = (
        grid(axis, HEIGHT),
        box(axis.at(floor), axis.at(limit), 4, HEIGHT - 8, "band"),
        vertical(axis.at(floor), 2, HEIGHT - 2, "tail"),
        vertical(axis.at(limit), 2, HEIGHT - 2, "limit"),
        dot(axis.at(error), HEIGHT / 2, 5, f"mark {kind}"),
    )
    return canvas(HEIGHT, parts, f"largest error {error:.2e}, noise floor {floor:.2e}, limit {limit:.2e}")
