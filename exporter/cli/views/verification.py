"""Outcomes as they look in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from slide_export.verification.numbers import BUNDLES, bundle_row
from slide_export.verification.outcome import VerifyResult

from .literal import SENTENCE, literal
from .table import plain_table

WORD_COLUMNS = 5  # the first ones; the others hold numbers


def render(outcomes: Sequence[VerifyResult]) -> Iterator[RenderableType]:
    """What to print: a row a bundle, then why each failed."""
    table = plain_table(("", *BUNDLES), words=range(WORD_COLUMNS), fold=True, whole=(1,))
    for outcome in outcomes:
        table.add_row("[green]✓[/]" if outcome.passed else "[red]✗[/]", *map(literal, bundle_row(outcome)))
    yield ""
    yield table
    for outcome in outcomes:
        if not outcome.passed:
            yield f"[bold]{literal(str(outcome.path))}[/]: {literal(outcome.sentence, SENTENCE)}"
