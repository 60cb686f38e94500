"""Outcomes as they look in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from slide_export.verification.numbers import BUNDLES, bundle_row
from slide_export.verification.outcome import VerifyResult

LEFT = 4  # columns of words


def render(outcomes: Sequence[VerifyResult]) -> Iterator[RenderableType]:
    """Yields what to print: a row a bundle, then why each failed."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, column in enumerate(("", *BUNDLES)):
        table.add_column(column, justify="left" if place <= LEFT else "right", overflow="fold")
    for outcome in outcomes:
        table.add_row("[green]✓[/]" if outcome.passed else "[red]✗[/]", *map(escape, bundle_row(outcome)))
    yield ""
    yield table
    for outcome in outcomes:
        if not outcome.passed:
            yield f"[bold]{escape(str(outcome.path))}[/]: {escape(outcome.message)}"
