"""The load of a user who sets nothing, run on the proof's images where it computes otherwise than the proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from slide_export.backends import optional
from slide_export.backends.interface import Backend
from slide_export.core.plain_load import PlainLoad
from slide_export.core.proof import ParityReport, Reference

from . import parity


def measure(
    backend: Backend,
    path: Path,
    settings: Mapping[str, Any],
    reference: Reference,
    batch: int | None,
    proof: ParityReport,
    decision_axis: int | None,
) -> PlainLoad | None:
    """What a plain load computes: measured where this machine's differs, told elsewhere; None where nobody knows.

    Args:
        proof: of the artifact with its settings, whose limits hold here too.
    """
    told = optional.plain_load(backend, path, settings)
    if told is None or optional.unavailable_reason(backend) is not None or not told.differs_here:
        return told
    # The same limits as the proof's: whether a user who sets nothing has what was proved is the question.
    session = backend.Session(path, told.settings)
    report = parity.check(reference, session, batch, decision_axis=decision_axis, accepted=proof.accepted)
    # Outputs have limits of their own, so the worst is the one nearest to or furthest beyond its limit.
    worst = max(report.outputs, key=lambda output: output.max_abs / output.limit_max)
    return replace(
        told,
        evaluator=report.evaluator,
        max_abs=worst.max_abs,
        limit_max=worst.limit_max,
        passed=report.passed,
    )
