"""The load of a user who sets nothing, run on the proof's images where it computes otherwise than the proof."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from slide_export.backends import optional
from slide_export.backends.interface import Backend, Session
from slide_export.core.plain_load import PlainLoad
from slide_export.core.proof import ParityReport, Reference

from . import parity
from .ordering import Ordering
from .orders_inside import open_orders

Sorts: TypeAlias = Callable[[Callable[[Sequence[str]], Session]], Ordering | None]
"""Makes the reference under an artifact's orders, from what opens the artifact to give them."""


def no_order(_shown: Callable[[Sequence[str]], Session]) -> None:
    """Of a model that sorts nothing, or where the model is not at hand."""


def measure(
    backend: Backend,
    path: Path,
    settings: Mapping[str, Any],
    reference: Reference,
    batch: int | None,
    proof: ParityReport,
    decision_axis: int | None,
    sorts: Sorts = no_order,
) -> PlainLoad | None:
    """What a plain load computes: measured where this machine's differs, told elsewhere; None where nobody knows.

    Args:
        proof: of the artifact with its settings, whose limits hold here too.
        sorts: see `ordering.ordering`.
    """
    told = optional.plain_load(backend, path, settings)
    if told is None or optional.unavailable_reason(backend) is not None or not told.differs_here:
        return told
    session = backend.Session(path, told.settings)
    ordering = sorts(partial(open_orders, backend, path, None, told.settings))
    report = parity.check(
        reference, session, batch, decision_axis=decision_axis, accepted=proof.accepted, ordering=ordering
    )
    worst = max(report.outputs, key=lambda output: output.max_abs / output.limit_max)
    return replace(
        told,
        evaluator=report.evaluator,
        max_abs=worst.max_abs,
        limit_max=worst.limit_max,
        passed=report.passed,
    )
