"""The few SVG elements that the drawings are made of."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from .axis import Axis, label


def canvas(height: int, parts: Iterable[str], said: str, kind: str = "strip") -> str:
    """Returns an SVG as wide as its place and `height` pixels high.

    Args:
        said: the drawing in words, for those who do not see it.
    """
    inside = "".join(parts)
    return f'<svg class="{kind}" height="{height}" role="img" aria-label="{escape(said)}">{inside}</svg>'


def grid(axis: Axis, height: int) -> str:
    """Returns a faint line at each tick."""
    return "".join(vertical(axis.at(tick), 0, height, "grid") for tick in axis.ticks)


def ruler(axis: Axis, unit: str) -> str:
    """Returns the row of tick labels, the unit behind the last."""
    labels = [label(tick) for tick in axis.ticks]
    labels[-1] += f" {unit}"
    marks = (
        text(axis.at(tick), 13, word, "tick", "end" if tick == axis.ticks[-1] else _anchor(place))
        for place, (tick, word) in enumerate(zip(axis.ticks, labels, strict=True))
    )
    return f'<svg class="ruler" height="18" aria-hidden="true">{"".join(marks)}</svg>'


def _anchor(place: int) -> str:
    return "middle" if place else "start"


def vertical(x: float, top: float, bottom: float, kind: str) -> str:
    """Returns a vertical line at x percent."""
    return f'<line class="{kind}" x1="{x:g}%" x2="{x:g}%" y1="{top:g}" y2="{bottom:g}"/>'


def horizontal(left: float, right: float, y: float, kind: str) -> str:
    """Returns a horizontal line from left to right percent."""
    return f'<line class="{kind}" x1="{left:g}%" x2="{right:g}%" y1="{y:g}" y2="{y:g}"/>'


def box(left: float, right: float, top: float, height: float, kind: str) -> str:
    """Returns a rectangle from left to right percent."""
    width = round(max(0.0, right - left), 3)
    return f'<rect class="{kind}" x="{left:g}%" width="{width:g}%" y="{top:g}" height="{height:g}"/>'


def dot(x: float, y: float, radius: float, kind: str) -> str:
    """Returns a disc at x percent."""
    return f'<circle class="{kind}" cx="{x:g}%" cy="{y:g}" r="{radius:g}"/>'


def text(x: float, y: float, words: str, kind: str, anchor: str = "start", shift: int = 0) -> str:
    """Returns text at x percent, moved by `shift` pixels."""
    moved = f' dx="{shift}"' if shift else ""
    return f'<text class="{kind}" x="{x:g}%" y="{y:g}"{moved} text-anchor="{anchor}">{escape(words)}</text>'


def row(lead: str, detail: str, value: str, drawing: str) -> str:
    """Returns a drawing under its own label: what it is on the left, its number on the right."""
    more = f"<small>{escape(detail)}</small>" if detail else ""
    head = f"<span><b>{escape(lead)}</b> {more}</span><span class=value>{escape(value)}</span>"
    return f'<div class="row"><div class="label">{head}</div>{drawing}</div>'
