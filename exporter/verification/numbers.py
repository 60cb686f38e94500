"""The numbers of one outcome as columns and rows of text, for whichever writer shows them."""

from __future__ import annotations

from collections.abc import Sequence

from slide_export.core.proof import OutputParity

from .outcome import VerifyResult

DASH = "-"
BUNDLES = ("bundle", "target", "precision", "verdict", "largest error", "limit", "SQNR", "seconds")
OUTPUTS = ("output", "largest error", "noise floor", "limit", "rms error", "limit", "SQNR", "cosine")


def bundle_row(outcome: VerifyResult) -> tuple[str, ...]:
    """Returns what `BUNDLES` asks for, of the output that is nearest to its limit."""
    tightest = outcome.tightest
    told = (DASH,) * 3 if tightest is None else (_error(tightest.max_abs), _error(tightest.limit_max), _db(tightest))
    said = (str(outcome.path), outcome.target or DASH, outcome.precision or DASH, outcome.verdict)
    return (*said, *told, f"{outcome.seconds:.1f}")


def output_rows(outcome: VerifyResult) -> tuple[tuple[str, ...], ...]:
    """Returns what `OUTPUTS` asks for, a row an output; none without a proof."""
    return tuple(map(_output_row, outcome.proof.outputs)) if outcome.proof else ()


def _output_row(output: OutputParity) -> tuple[str, ...]:
    errors = (output.max_abs, output.floor_max, output.limit_max, output.rms, output.limit_rms)
    return (output.name, *map(_error, errors), _db(output), f"{output.cosine:.8f}")


def _error(value: float) -> str:
    return f"{value:.2e}"


def _db(output: OutputParity) -> str:
    return f"{output.sqnr_db:.1f} dB"


def compared(outcome: VerifyResult) -> str:
    """Returns what was compared with what, "" without a proof."""
    proof = outcome.proof
    if proof is None:
        return ""
    batches = ", ".join(map(str, proof.batch_sizes))
    top1 = "" if proof.top1 is None else f"; top-1 agreement {proof.top1:.1%}"
    return f"{proof.images} images ({proof.source}), batch {batches}, {proof.evaluator}{top1}"


def as_text(outcome: VerifyResult) -> str:
    """Returns the numbers of an outcome in columns, as plain text; "" without a proof."""
    if outcome.proof is None:
        return ""
    return "\n".join((compared(outcome), *aligned((OUTPUTS, *output_rows(outcome)))))


def aligned(rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Returns a line for each row, its cells in columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return tuple(
        "  ".join(
            (row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)))
        )
        for row in rows
    )
