"""The load of a user who sets nothing, run on the proof's images where it computes otherwise than the proof."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slide_export.backends import optional
from slide_export.backends.interface import Backend, Session
from slide_export.core.plain_load import PlainLoad
from slide_export.core.proof import ParityReport, Reference

from . import parity


@dataclass(frozen=True)
class OpenedPlain:
    """An artifact that was loaded without settings.

    Attributes:
        told: what such a load computes.
        session: None where it computes what was proved, or where nothing can run it here.
    """

    told: PlainLoad
    session: Session | None = None


def load(backend: Backend, path: Path, settings: Mapping[str, Any], proved: Iterable[str]) -> OpenedPlain | None:
    """Load an artifact without its settings where this machine then computes otherwise; None where nobody knows.

    Args:
        proved: types that products compute in with the settings.
    """
    told = optional.plain_load(backend, path, settings, tuple(sorted(proved)))
    if told is None or not told.differs_here or optional.unavailable_reason(backend) is not None:
        return None if told is None else OpenedPlain(told)
    return OpenedPlain(told, backend.Session(path, told.settings))


def measure(
    plain: OpenedPlain, reference: Reference, batch: int | None, proof: ParityReport, decision_axis: int | None
) -> PlainLoad:
    """What a plain load computes: measured where it was loaded, told elsewhere.

    Args:
        proof: of the artifact with its settings, whose limits hold here too.
    """
    if plain.session is None:
        return plain.told
    report = parity.check(reference, plain.session, batch, decision_axis=decision_axis, accepted=proof.accepted)
    # Outputs have limits of their own, so the worst is the one nearest to or furthest beyond its limit.
    worst = max(report.outputs, key=lambda output: output.max_abs / output.limit_max)
    return replace(
        plain.told,
        evaluator=report.evaluator,
        max_abs=worst.max_abs,
        limit_max=worst.limit_max,
        passed=report.passed,
    )
