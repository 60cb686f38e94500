"""SVG elements that the drawings are made of."""

from __future__ import annotations

from collections.abc import Iterable

from slide_export.pages.visible import escaped

from .axis import Axis, label


def canvas(height: int, parts: Iterable[str], description: str, kind: str = "strip") -> str:
    """SVG as wide as its container and `height` pixels high.

    Args:
        description: the drawing in words, for screen readers.
    """
    inside = "".join(parts)
    return f'<svg class="{kind}" height="{height}" role="img" aria-label="{escaped(description)}">{inside}</svg>'


def grid(axis: Axis, height: int) -> str:
    """Faint line at each tick."""
    return "".join(vertical(axis.at(tick), 0, height, "grid") for tick in axis.ticks)


def ruler(axis: Axis, unit: str) -> str:
    """Row of tick labels, the unit behind the last."""
    labels = [label(tick) for tick in axis.ticks]
    labels[-1] += f" {unit}"
    marks = (
        text(axis.at(tick), 13, word, "tick", "end" if tick == axis.ticks[-1] else _anchor(index))
        for index, (tick, word) in enumerate(zip(axis.ticks, labels, strict=True))
    )
    return f'<svg class="ruler" height="18" aria-hidden="true">{"".join(marks)}</svg>'


def _anchor(index: int) -> str:
    return "middle" if index else "start"


def vertical(x: float, top: float, bottom: float, kind: str) -> str:
    """Vertical line at x percent."""
    return f'<line class="{kind}" x1="{x:g}%" x2="{x:g}%" y1="{top:g}" y2="{bottom:g}"/>'


def horizontal(left: float, right: float, y: float, kind: str) -> str:
    """Horizontal line from left to right percent."""
    return f'<line class="{kind}" x1="{left:g}%" x2="{right:g}%" y1="{y:g}" y2="{y:g}"/>'


def box(left: float, right: float, top: float, height: float, kind: str) -> str:
    """Rectangle from left to right percent."""
    width = round(max(0.0, right - left), 3)
    return f'<rect class="{kind}" x="{left:g}%" width="{width:g}%" y="{top:g}" height="{height:g}"/>'


def dot(x: float, y: float, radius: float, kind: str) -> str:
    """Disc at x percent."""
    return f'<circle class="{kind}" cx="{x:g}%" cy="{y:g}" r="{radius:g}"/>'


def text(x: float, y: float, words: str, kind: str, anchor: str = "start", shift: int = 0) -> str:
    """Text at x percent, moved by `shift` pixels."""
    moved = f' dx="{shift}"' if shift else ""
    return f'<text class="{kind}" x="{x:g}%" y="{y:g}"{moved} text-anchor="{anchor}">{escaped(words)}</text>'


def row(lead: str, detail: str, value: str, drawing: str) -> str:
    """Drawing under its label: name on the left, number on the right."""
    more = f"<small>{escaped(detail)}</small>" if detail else ""
    head = f"<span><b>{escaped(lead)}</b> {more}</span><span class=value>{escaped(value)}</span>"
    return f'<div class="row"><div class="label">{head}</div>{drawing}</div>'
