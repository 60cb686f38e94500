"""The load of a user who sets nothing, run on the proof's images where it computes otherwise than the proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class OpenedPlain:
    """An artifact that was loaded without settings.

    Attributes:
        told: what such a load computes.
        session: None where it computes what was proved, or where nothing can run it here.
        orders: opens it to give the orders that it sorts by; None where nothing can be read inside it.
    """

    told: PlainLoad
    session: Session | None = None
    orders: Callable[[Sequence[str]], Session] | None = None


def load(backend: Backend, path: Path, settings: Mapping[str, Any], proved: Iterable[str]) -> OpenedPlain | None:
    """Load an artifact without its settings where this machine then computes otherwise; None where nobody knows.

    Args:
        proved: types that products compute in with the settings.
    """
    # Where it computes the same nothing is run: the proof of the artifact is the proof of that load.
    told = optional.plain_load(backend, path, settings, tuple(sorted(proved)))
    if told is None or not told.differs_here or optional.unavailable_reason(backend) is not None:
        return None if told is None else OpenedPlain(told)
    orders = partial(open_orders, backend, path, None, told.settings)
    return OpenedPlain(told, backend.Session(path, told.settings), orders)


def measure(
    plain: OpenedPlain,
    reference: Reference,
    batch: int | None,
    proof: ParityReport,
    decision_axis: int | None,
    sorts: Sorts = no_order,
) -> PlainLoad:
    """What a plain load computes: measured where it was loaded, told elsewhere.

    Args:
        proof: of the artifact with its settings, whose limits hold here too.
        sorts: see `ordering.ordering`.
    """
    if plain.session is None:
        return plain.told
    ordering = None if plain.orders is None else sorts(plain.orders)
    # The limits of the proof, not of the type that such a load computes in: it is held to what was promised.
    report = parity.check(
        reference, plain.session, batch, decision_axis=decision_axis, accepted=proof.accepted, ordering=ordering
    )
    worst = report.tightest
    return replace(
        plain.told,
        evaluator=report.evaluator,
        max_abs=worst.max_abs,
        limit_max=worst.limit_max,
        passed=report.passed,
    )
