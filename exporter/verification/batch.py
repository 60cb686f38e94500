"""Bundles -> outcomes, one after the other: one that fails does not stop the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from slide_export.core.errors import CRASHED, SlideExportError
from slide_export.core.progress import Progress, no_progress
from slide_export.core.request import AccuracyGoal

from . import bundle as verification
from . import drawing
from .apart import opened_apart
from .opening import Opening
from .outcome import VerifyResult

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VerifyOptions:
    """What each bundle is held to.

    Attributes:
        against: the checkpoint to derive the reference from; None takes the golden file's.
        goal: of the accuracy, which needs the checkpoint; None measures none.
        opening: where the artifact runs.
        evaluate: how its accuracy is measured: in this process, or in several.
        least_db: signal to noise that every output has to have; None asks what the bundle's own recipe does.
        draw: a directory for answers as pictures, beside the trained model's; None draws none.
    """

    against: Path | None = None
    goal: AccuracyGoal | None = None
    opening: Opening = opened_apart
    least_db: float | None = None
    draw: Path | None = None
    evaluate: verification.Evaluate = verification.in_this_process


NOTHING_MORE = VerifyOptions()


class _Failed(Exception):
    """Raised within a step, so that the display marks it as failed."""


def prove_each(
    bundles: Sequence[Path], demand: VerifyOptions = NOTHING_MORE, step: Progress = no_progress
) -> tuple[VerifyResult, ...]:
    """How the proof of each bundle ended, in their order.

    Args:
        step: told of each stage where there is one bundle, of each bundle where there are many.
    """
    if len(bundles) == 1:
        return (prove_one(bundles[0], demand, step),)
    return tuple(_as_one_step(path, demand, step) for path in bundles)


def _as_one_step(path: Path, demand: VerifyOptions, step: Progress) -> VerifyResult:
    with suppress(_Failed), step(f"verify {path}"):
        outcome = prove_one(path, demand)
        if not outcome.passed:
            raise _Failed
    return outcome


def prove_one(path: Path, demand: VerifyOptions = NOTHING_MORE, step: Progress = no_progress) -> VerifyResult:
    """How the proof of one bundle ended; whatever goes wrong with it is an outcome, not an exception."""
    start = time.perf_counter()
    known = VerifyResult(path, 0, "", "", 0.0)
    try:
        for stage in _stages(known, demand, step):
            known = stage
    except SlideExportError as error:
        known = replace(known, exit_code=error.exit_code, kind=type(error).__name__)
        known = replace(known, message=str(error), on_command_line=error.on_command_line)
    except Exception as error:  # a fault of ours or of a runtime ends this bundle, as it would end a process of its own
        log.warning("%s", path, exc_info=error)
        said = f"this is a fault of slide-export itself or of the runtime: {type(error).__name__}: {error}"
        known = replace(known, exit_code=CRASHED, kind=type(error).__name__, message=said)
    return replace(known, seconds=time.perf_counter() - start)


def _stages(known: VerifyResult, demand: VerifyOptions, step: Progress) -> Iterator[VerifyResult]:
    """What is known after each stage: when one fails, the numbers of those before it are kept.

    Raises:
        SlideExportError: the bundle cannot be proved, or is not what it claims to be.
    """
    with verification.open_bundle(known.path, step, demand.opening) as opened:
        manifest = opened.bundle.manifest
        if demand.draw is not None:
            drawing.refuse_words(opened.task)
        served = verification.trained(opened, demand.against, step)
        proof = verification.prove(opened, served, step)
        known = replace(known, target=manifest.target, precision=manifest.precision.name, proof=proof)
        yield known
        if demand.draw is not None:  # also of what is refused: there above all
            with step("draw its answers"):
                drawing.beside_the_model(opened, demand.draw)
        verification.judge(opened, proof, demand.least_db)
        if served is not None and demand.goal is not None:
            yield replace(known, accuracy=verification.accuracy(opened, served, demand.goal, step, demand.evaluate))
        inside = manifest.portable
    if inside is not None:
        verification.verify(known.path / inside, demand.against, step, demand.opening)
