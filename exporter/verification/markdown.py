"""Outcomes -> Markdown: a table of all, then each failure. Made to stand after other text in a CI's summary."""

from __future__ import annotations

from collections.abc import Sequence

from slide_export.pages import markdown
from slide_export.pages.document import Document, Section, Sentence, Statements, Table

from .numbers import BUNDLES, OUTPUTS, bundle_row, compared, output_rows
from .outcome import VerifyResult


def write(outcomes: Sequence[VerifyResult]) -> str:
    """The Markdown of outcomes."""
    passed = sum(outcome.passed for outcome in outcomes)
    rows = tuple(_marked(bundle_row(outcome), passed=outcome.passed) for outcome in outcomes)
    table = Table("The artifact beside the trained PyTorch model, in the output nearest to its limit", BUNDLES, rows, 4)
    failures = (_failure(outcome) for outcome in outcomes if not outcome.passed)
    title = f"slide-export verify: {passed} of {len(outcomes)} proved"
    return markdown.write(Document(title, _subtitle(outcomes), (Section("Bundles", (table,)), *failures)))


def _subtitle(outcomes: Sequence[VerifyResult]) -> str:
    evaluators = dict.fromkeys(outcome.proof.evaluator for outcome in outcomes if outcome.proof)
    return f"Run by {'; '.join(evaluators)}." if evaluators else "Nothing could be run."


def _marked(row: tuple[str, ...], *, passed: bool) -> tuple[str, ...]:
    place = BUNDLES.index("verdict")
    return (*row[:place], f"{'✓' if passed else '✗'} {row[place]}", *row[place + 1 :])


def _failure(outcome: VerifyResult) -> Section:
    said = Statements((Sentence(outcome.verdict, outcome.sentence, "bad"),))
    rows = output_rows(outcome)
    table = (Table(compared(outcome), OUTPUTS, rows),) if rows else ()
    return Section(str(outcome.path), (said, *table))
