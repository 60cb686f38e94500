"""The verbs of the command line as functions of the same names. Importing this file imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

from .benchmark.plan import BenchOptions, BenchPlan, plan_of, refuse_no_time
from .core.errors import RequestError, option
from .core.preprocessing import PreprocessingOptions, written
from .core.task import Known
from .verification.place import TIMEOUT_S, BatchOptions, PlaceOptions
from .workflows.options import ExportOptions, goal_of, request_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from slide_export.calibration.accuracy import AccuracyReport

    from .backends.interface import Availability
    from .backends.isolation import KeptEnvironment
    from .benchmark.recommend import Recommendation
    from .bundle.store import Bundle
    from .checkpoint.variants import Entry
    from .core.measurement import BenchmarkResult
    from .core.model import Inspection, Model
    from .core.progress import Progress
    from .core.proof import ParityReport
    from .core.task import Task
    from .diagnosis import Diagnosis
    from .linter import Finding
    from .models import Family
    from .verification.opening import Opening
    from .verification.outcome import VerifyResult
    from .workflows.all_targets import TargetResult
    from .workflows.demo import DemoRow
    from .workflows.run import RunResult
    from .workflows.variants import CompareOptions


def export(
    checkpoint: Path | str,
    target: str | None = None,
    *,
    like: Path | str | Bundle | None = None,
    jobs: int = 1,
    step: Progress | None = None,
    **options: Unpack[ExportOptions],
) -> Bundle:
    """Make the proved bundle of a checkpoint, written to `out/NAME-TARGET-PRECISION/`.

    Args:
        checkpoint: a `.pt`, `.pth` or `.safetensors` file.
        target: a name of `targets()`; without it that of `like`, or onnx.
        like: a bundle whose every option is taken, but for those that are given here; see `workflows.like`.
        jobs: processes that measure its accuracy, where there are images enough for several.
        step: told of each stage; see `slide_export.core.progress.Step`.
        options: see `ExportOptions`.

    Raises:
        GateError: the artifact is not the model, or not in the precision asked for; it is kept as `*.rejected`.
        SlideExportError: the request, the checkpoint or the machine does not allow it.
    """
    from .core.progress import no_progress
    from .workflows.export import export as run

    if like is not None:
        from .workflows.like import options_like

        target, options = options_like(like, target, options)
    _refuse_no_process(jobs)
    return run(request_of(checkpoint, target or "onnx", options), step or no_progress, jobs)


def export_all(
    checkpoint: Path | str,
    targets: Sequence[str] | None = None,
    *,
    like: Path | str | Bundle | None = None,
    timeout_s: float = 900.0,
    jobs: int = 2,
    step: Progress | None = None,
    **options: Unpack[ExportOptions],
) -> tuple[TargetResult, ...]:
    """Tell how the export to each target ended, each in a process of its own.

    Args:
        checkpoint: a `.pt`, `.pth` or `.safetensors` file.
        targets: names of `targets()`; None takes those that are installed, and ends with a result for each that is not.
        like: see `export`.
        timeout_s: for one target.
        jobs: how many processes at a time: targets first, several for the accuracy of each where there are fewer.
        step: told of each target.
        options: see `ExportOptions`; `options` goes to the targets that know it.
    """
    from .core.progress import no_progress
    from .workflows import all_targets

    if like is not None:
        from .workflows.like import options_like

        _, options = options_like(like, "all", options)
    request = request_of(checkpoint, "all", options)
    return all_targets.export_all(request, targets or None, timeout_s, jobs, step or no_progress)


def inspect(
    checkpoint: Path | str,
    *,
    variant: str | None = None,
    weights: str = "raw",
    input_size: tuple[int, int] | None = None,
    weights_key: str | None = None,
    values: Mapping[str, str] | None = None,
    **preprocessing: Unpack[PreprocessingOptions],
) -> Inspection:
    """Tell what a checkpoint holds: format, variant, sizes, parameters, multiply-adds, drift, what was assumed.

    A head may be missing. `values` and `preprocessing` say what no file tells; see `ExportOptions`.

    Raises:
        CheckpointError: the file is no sound checkpoint of a known model.
    """
    from .checkpoint import load
    from .checkpoint.inspect import inspect_model

    model = load.load_checkpoint(
        checkpoint,
        variant=variant,
        weights=weights,
        input_size=input_size,
        weights_key=weights_key,
        values=values or {},
        preprocessing=written(preprocessing),
        headless=True,
    )
    return inspect_model(model)


def lint(
    subject: Path | str | Model | nn.Module, targets: Sequence[str] = (), *, example: Tensor | None = None
) -> tuple[Finding, ...]:
    """List what will fail, run badly or could run faster on which target, worst first.

    Args:
        subject: a checkpoint, an `.onnx` file, an `.mlpackage`, a bundle, a loaded model, or any PyTorch module.
        targets: names of `targets()`; none takes all.
        example: an input, where the subject is a bare module.

    Raises:
        SlideExportError: the subject is none of these, or a target does not exist.
    """
    from . import linter

    return linter.lint(subject, targets, example=example)


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
    from .core.progress import no_progress
    from .verification import bundle as verification

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
    from .core.progress import no_progress

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
    _refuse_no_process(jobs)
    from .verification.batch import VerifyOptions, prove_each
    from .verification.bundle import in_this_process
    from .verification.find import find
    from .workflows.evaluate_apart import of_bundle

    found, step, asked = find(bundles), step or no_progress, where.pop("draw", None)
    draw = None if asked is None else Path(asked)
    with _opening(step, **cast(PlaceOptions, where)) as opening:
        several = in_this_process if against is None else partial(of_bundle, against=Path(against), jobs=jobs)
        demand = VerifyOptions(None if against is None else Path(against), goal, opening, least_db, draw, several)
        return prove_each(found, demand, step)


def _refuse_no_process(jobs: int) -> None:
    if jobs < 1:
        raise RequestError(f"expected at least 1 process for {option('jobs')}, found {jobs}")


@contextmanager
def _opening(
    step: Progress, device: str | None = None, *, keep: bool = False, timeout_s: float = TIMEOUT_S
) -> Iterator[Opening]:
    """Open artifacts where they are to be proved: here, or on a device while it is connected."""
    refuse_no_time(timeout_s)
    if device is None:
        if keep:
            raise RequestError(f"expected {option('device')} with {option('keep')}: here nothing is copied anywhere")
        from .verification.apart import Runners

        with Runners(timeout_s) as runners:
            yield runners.opened
        return
    from .benchmark.devices import connect_for_proof
    from .verification.on_device import opened_at

    with connect_for_proof(device, keep=keep, step=step) as connected:
        yield partial(opened_at, connected, timeout_s=timeout_s)


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
    from .core.progress import no_progress
    from .workflows import run as answering

    places = [Path(images)] if isinstance(images, str | Path) else [Path(place) for place in images]
    if draw is not None:
        answering.refuse_undrawn(Path(bundle))
    found = answering.run(Path(bundle), places, None if against is None else Path(against), step or no_progress)
    if draw is not None:
        answering.draw(found, Path(draw))
    return found


def bench(
    bundles: Sequence[Path | str | Bundle],
    plan: BenchPlan | None = None,
    *,
    step: Progress | None = None,
    **options: Unpack[BenchOptions],
) -> BenchmarkResult:
    """Measure the latency of bundles in interleaved rounds, and compare them.

    Args:
        bundles: directories that `export` wrote, or bundles that were read already.
        plan: how to measure, and where; a plan with the defaults of `BenchPlan` without it.
        step: told of each stage.
        options: see `BenchOptions`; each takes the place of a field of the plan.

    Raises:
        RequestError: a number is below 1, or an option does not fit the device.
        BundleError: a bundle is incomplete or altered.
        BackendUnavailable: a bundle cannot run on that machine.
        DeviceError: another machine cannot be reached, was lost, or lacks what the bundles need.
        MeasurementError: a bundle's process crashed.
        TimeLimitError: one did not answer in time.
    """
    from .benchmark import bundles as benchmark
    from .benchmark.devices import connect
    from .bundle.store import Bundle
    from .core.progress import no_progress

    plan, step = plan_of(plan, options), step or no_progress
    with connect(plan.device, step=step) as device:
        paths = [one if isinstance(one, Bundle) else Path(one) for one in bundles]
        return benchmark.bench(paths, plan, device, step)


def recommend(
    bundles: Sequence[Path | str],
    plan: BenchPlan | None = None,
    *,
    step: Progress | None = None,
    **options: Unpack[BenchOptions],
) -> tuple[Recommendation, BenchmarkResult]:
    """Measure bundles of one checkpoint and recommend which to ship; give the measurement too.

    Args:
        bundles: the same model in several precisions, or for several targets.
        plan, step, options: see `bench`.

    Raises:
        RequestError: there are not two bundles, they are of different checkpoints, one is not in the precision that it
            claims, or none is fit to ship.
        SlideExportError: see `bench`.
    """
    from .benchmark import recommend as recommendation
    from .bundle import store as bundle

    paths = [Path(path) for path in bundles]
    if len(paths) < 2:
        raise RequestError(f"expected at least two bundles to choose from, found {len(paths)}")
    made = [bundle.read(path) for path in paths]
    manifests = {one.path: one.manifest for one in made}
    recommendation.of_one_checkpoint(manifests)
    recommendation.in_their_precision(manifests)
    measured = bench(made, plan, step=step, **options)
    return recommendation.recommend(measured), measured


def compare(
    variants: Sequence[str],
    targets: Sequence[str] = ("onnx",),
    plan: BenchPlan | None = None,
    *,
    out: Path | str = "compared",
    overwrite: bool = False,
    step: Progress | None = None,
    **options: Unpack[CompareOptions],
) -> tuple[tuple[BenchmarkResult, ...], tuple[Path, ...]]:
    """Measure how fast variants are, one result for each target; give the results, and the files written from them.

    Args:
        variants: names, `im2col_swin_tiny` and its like among them; the others are compared with the first.
        targets: each is measured in a session of its own.
        plan: see `bench`.
        out: directory for `TARGET.json`, `report.html` and `report.md`.
        overwrite: replace these files.
        step: told of each stage.
        options: see `CompareOptions`.

    Raises:
        GateError: an artifact is not its model.
        SlideExportError: the request or the machine does not allow it.
    """
    from .benchmark.devices import connect
    from .core.progress import no_progress
    from .pages import write
    from .workflows import variants as comparison

    request = comparison.request_of(variants, targets, plan, options)
    write.refuse_existing(Path(out), request.targets, overwrite=overwrite)
    step = step or no_progress
    with connect(request.plan.device, step=step) as device:
        results = comparison.compare(request, device, step)
    return results, write.directory(dict(zip(request.targets, results, strict=True)), Path(out))


def report(results: Sequence[Path | str], outs: Sequence[Path | str] = ("report.html",)) -> tuple[Path, ...]:
    """Write pages about results for people; give their paths, one for each of `outs`.

    Args:
        results: files of `bench` or `compare`, from any machine.
        outs: files to write; `.html` is one self-contained page, `.md` has the same numbers in Markdown.

    Raises:
        RequestError: there is no result, one is given twice, an ending is another, or a page cannot be written.
        BundleError: a file is no result.
    """
    from .pages import write

    return write.reports([Path(path) for path in results], [Path(path) for path in outs])


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
    from .core.progress import no_progress
    from .verification import bundle as verification

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
    from . import diagnosis
    from .core.progress import no_progress
    from .verification.apart import Runners

    known = Known(tuple(families), tuple(tasks))
    with Runners(timeout_s) as runners:
        return diagnosis.diagnose(Path(bundle), Path(against), step or no_progress, known, runners.inside)


def targets() -> tuple[Availability, ...]:
    """What each target can do on this machine."""
    from .backends import registry as backends

    return tuple(backends.availability(name) for name in backends.names())


def install_target(target: str, *, step: Progress | None = None) -> Path:
    """Make the environment of its own that a target is converted in, or find it made; its directory.

    Raises:
        RequestError: there is no such target, or it needs no environment of its own.
        BackendUnavailable: there is no pip, or it cannot install what is needed.
        WriteError: the cache cannot be written.
    """
    from .backends import isolation, optional
    from .backends import registry as backends
    from .core.progress import no_progress

    environment = isolation.refuse_none(target, optional.environment(backends.load(target)))
    return isolation.install(target, environment, step or no_progress)


def uninstall_target(target: str) -> tuple[KeptEnvironment, ...]:
    """Remove every environment that was made for a target; those that were.

    Raises:
        RequestError: there is no such target, or it needs no environment of its own.
        WriteError: one cannot be removed.
    """
    from .backends import isolation, optional
    from .backends import registry as backends

    isolation.refuse_none(target, optional.environment(backends.load(target)))
    return isolation.uninstall(target)


def environments() -> tuple[KeptEnvironment, ...]:
    """What is kept of environments of targets: where, how large, and whether this installation uses it."""
    from .backends import isolation, optional
    from .backends import registry as backends

    needed = {name: optional.environment(backends.load(name)) for name in backends.names()}
    return isolation.kept({name: one for name, one in needed.items() if one is not None})


def variants(family: str | None = None) -> tuple[Entry, ...]:
    """The zoo: each variant's size, cost, published figures and the targets it was proved on.

    Args:
        family: its name; None takes all.

    Raises:
        RequestError: there is no such family.
    """
    from .checkpoint.variants import catalogue

    return catalogue(family)


def demo(out: Path | str = "exported", *, step: Progress | None = None) -> tuple[DemoRow, ...]:
    """Export the bundled digits model to each usable target and compare its held-out accuracy with PyTorch's."""
    from .core.progress import no_progress
    from .workflows.demo import run_demo

    return run_demo(Path(out), step or no_progress)


def load_checkpoint(
    path: Path | str,
    *,
    variant: str | None = None,
    weights: str = "raw",
    input_size: tuple[int, int] | None = None,
    weights_key: str | None = None,
    values: Mapping[str, str] | None = None,
    features: bool = False,
    **preprocessing: Unpack[PreprocessingOptions],
) -> Model:
    """Load the trained model in a checkpoint, in eval mode; see `slide_export.checkpoint.load.load_checkpoint`."""
    from .checkpoint import load as checkpoint

    return checkpoint.load_checkpoint(
        path,
        variant=variant,
        weights=weights,
        input_size=input_size,
        weights_key=weights_key,
        values=values or {},
        preprocessing=written(preprocessing),
        features=features,
    )
