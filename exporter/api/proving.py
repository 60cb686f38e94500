"""Verbs that hold a bundle against its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

from slide_export.benchmark.plan import refuse_no_time
from slide_export.core.errors import RequestError, option
from slide_export.core.task import Known
from slide_export.verification.place import TIMEOUT_S, BatchOptions, PlaceOptions
from slide_export.workflows.options import goal_of, refuse_no_process

if TYPE_CHECKING:
    from slide_export.calibration.accuracy import AccuracyReport
    from slide_export.core.progress import Progress
    from slide_export.core.proof import ParityReport
    from slide_export.core.task import Task
    from slide_export.diagnosis import Diagnosis
    from slide_export.models import Family
    from slide_export.verification.opening import Opening
    from slide_export.verification.outcome import VerifyResult
    from slide_export.workflows.run import RunResult


def verify(
    bundle: Path | str,
    against: Path | str | None = None,
    *,
    families: Sequence[Family] = (),
    tasks: Sequence[Task] = (),
    step: Progress | None = None,
    **where: Unpack[PlaceOptions],
) -> ParityReport:
    """Prove a bundle again from its golden file alone, or with the reference derived from `against` anew.

    Args:
        families, tasks: of your own; see `ExportOptions`.
        step: told of each stage.
        where: see `PlaceOptions`.

    Raises:
        BundleError: the bundle is incomplete or altered.
        ParityError: the artifact is not the model.
        DeviceError: the device cannot be reached, was lost, or lacks what the bundle needs.
        TimeLimitError: the artifact hangs, or takes longer than `timeout_s`.
    """
    from slide_export.core.progress import no_progress
    from slide_export.verification import bundle as verification

    step = step or no_progress
    with _opening(step, **where) as opening:
        known = Known(tuple(families), tuple(tasks))
        return verification.verify(Path(bundle), None if against is None else Path(against), step, opening, known)


def verify_all(
    bundles: Sequence[Path | str],
    against: Path | str | None = None,
    evaluation: Path | str | None = None,
    *,
    max_drop: float | None = None,
    min_sqnr_db: float | None = None,
    step: Progress | None = None,
    **where: Unpack[BatchOptions],
) -> tuple[VerifyResult, ...]:
    """Prove many bundles; one that fails does not stop the others.

    Args:
        bundles: directories, or globs such as `exported/*`.
        against: derive the references from this checkpoint anew.
        evaluation: measure accuracy too, beside the checkpoint's own; see `ExportOptions` for it and its limits.
        min_sqnr_db: without `evaluation`, what the proof asks of every output, whatever the bundle's own recipe asks.
        step: told of each stage or, where there are many bundles, of each bundle.
        where: see `BatchOptions`.

    Raises:
        RequestError: evaluation images without a checkpoint or with a device, or a limit without images.
        DeviceError: the device cannot be reached.
    """
    from slide_export.core.progress import no_progress

    least_db = min_sqnr_db if evaluation is None else None
    goal = goal_of(evaluation, max_drop, None if evaluation is None else min_sqnr_db)
    if goal is not None and against is None:
        raise RequestError(
            f"expected {option('against')} with {option('evaluation', 'eval')}: accuracy is compared with the "
            "checkpoint's own"
        )
    if goal is not None and where.get("device") is not None:
        raise RequestError(
            f"expected {option('evaluation', 'eval')} without {option('device')}: accuracy is measured on this machine"
        )
    jobs = where.pop("jobs", 1)
    refuse_no_process(jobs)
    from slide_export.verification.batch import VerifyOptions, prove_each
    from slide_export.verification.bundle import in_this_process
    from slide_export.verification.find import find
    from slide_export.workflows.evaluate_apart import of_bundle

    found, step, asked = find(bundles), step or no_progress, where.pop("draw", None)
    draw = None if asked is None else Path(asked)
    with _opening(step, **cast(PlaceOptions, where)) as opening:
        several = in_this_process if against is None else partial(of_bundle, against=Path(against), jobs=jobs)
        demand = VerifyOptions(None if against is None else Path(against), goal, opening, least_db, draw, several)
        return prove_each(found, demand, step)


def run(
    bundle: Path | str,
    images: Sequence[Path | str],
    against: Path | str | None = None,
    *,
    draw: Path | str | None = None,
    step: Progress | None = None,
) -> RunResult:
    """Answer pictures with a bundle's artifact, and beside it with the PyTorch model.

    Args:
        bundle: a directory that `export` wrote.
        images: files, folders, zips, npz archives or CSV lists.
        against: the checkpoint that the bundle was made from.
        draw: directory for the answers as pictures, PNG; none are written without it.
        step: told of each stage.

    Raises:
        RequestError: the task's answers are no pictures.
        BundleError: the bundle is incomplete or altered, or was made from another checkpoint.
        CalibrationError: there is no image, or one cannot be decoded.
        BackendUnavailable: the target is not installed here.
    """
    from slide_export.core.progress import no_progress
    from slide_export.workflows import run as answering

    places = [Path(images)] if isinstance(images, str | Path) else [Path(place) for place in images]
    if draw is not None:
        answering.refuse_undrawn(Path(bundle))
    found = answering.run(Path(bundle), places, None if against is None else Path(against), step or no_progress)
    if draw is not None:
        answering.draw(found, Path(draw))
    return found


def measure_accuracy(
    bundle: Path | str,
    against: Path | str,
    evaluation: Path | str,
    *,
    max_drop: float | None = None,
    min_sqnr_db: float | None = None,
    step: Progress | None = None,
) -> AccuracyReport:
    """Measure what a bundle loses to its checkpoint on evaluation images; see `ExportOptions` for the limits.

    Raises:
        CalibrationError: the images or their classes are not fit for the model.
        AccuracyError: it loses more than was allowed.
    """
    from slide_export.core.progress import no_progress
    from slide_export.verification import bundle as verification

    goal = goal_of(evaluation, max_drop, min_sqnr_db)
    if goal is None:
        raise RequestError("expected evaluation images, found None")
    return verification.measure_accuracy(Path(bundle), Path(against), goal, step or no_progress)


def diagnose(
    bundle: Path | str,
    against: Path | str,
    *,
    families: Sequence[Family] = (),
    tasks: Sequence[Task] = (),
    timeout_s: float = TIMEOUT_S,
    step: Progress | None = None,
) -> Diagnosis:
    """Find where a bundle's artifact leaves the trained model, module by module, and the module to blame.

    Args:
        against: the checkpoint: a bundle holds the trained model's outputs, not what is inside it.
        families, tasks: of your own; see `ExportOptions`.
        timeout_s: to load the artifact, or for one image; one that takes longer is stopped.

    Raises:
        BundleError: the bundle is incomplete or altered, or was made from another checkpoint.
        CrashError: the artifact crashes its runtime.
        TimeLimitError: it hangs, or takes longer than `timeout_s`.
        LoweringError: the artifact shows none of the model's modules.
    """
    from slide_export import diagnosis
    from slide_export.core.progress import no_progress
    from slide_export.verification.apart import Runners

    known = Known(tuple(families), tuple(tasks))
    with Runners(timeout_s) as runners:
        return diagnosis.diagnose(Path(bundle), Path(against), step or no_progress, known, runners.inside)


@contextmanager
def _opening(
    step: Progress, device: str | None = None, *, keep: bool = False, timeout_s: float = TIMEOUT_S
) -> Iterator[Opening]:
    """Open artifacts where they are to be proved: here, or on a device while it is connected."""
    refuse_no_time(timeout_s)
    if device is None:
        if keep:
            raise RequestError(f"expected {option('device')} with {option('keep')}: here nothing is copied anywhere")
        from slide_export.verification.apart import Runners

        with Runners(timeout_s) as runners:
            yield runners.opened
        return
    from slide_export.benchmark.devices import connect_for_proof
    from slide_export.verification.on_device import opened_at

    with connect_for_proof(device, keep=keep, step=step) as connected:
        yield partial(opened_at, connected, timeout_s=timeout_s)
