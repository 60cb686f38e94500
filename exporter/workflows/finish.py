"""Plan, Prepared -> Bundle: precision, lowering, inspection, proof, accuracy, gate, directory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from slide_export.backends import registry
from slide_export.backends.interface import LoweringOptions
from slide_export.benchmark.tune import tune
from slide_export.bundle import report, staging, store
from slide_export.bundle.describe import AskedFor, Made, describe
from slide_export.bundle.store import Bundle
from slide_export.calibration.audit import audit
from slide_export.calibration.image_cache import FedImages
from slide_export.calibration.images import ImageSet
from slide_export.calibration.quantization import FILE as QUANTIZATION
from slide_export.calibration.quantization import NumericFormat, calibration_images, in_precision, with_overlap
from slide_export.calibration.recipe import dump
from slide_export.calibration.report import CalibrationReport
from slide_export.core.errors import option
from slide_export.core.graph import OnnxGraph
from slide_export.core.measurement import StageTimes
from slide_export.core.progress import Progress, no_progress
from slide_export.inference.served import ServedModel
from slide_export.proof import gate, orders_inside, stored

from .examine import examine
from .prepare import ModelInForm, Prepared
from .resolve import Plan


@dataclass(frozen=True)
class Calibrated:
    """A graph in its precision, and what its ranges were observed on."""

    graph: OnnxGraph
    report: CalibrationReport | None


def finish(
    plan: Plan, prepared: Prepared, step: Progress = no_progress, jobs: int = 1, outer: Path | None = None
) -> Bundle:
    """Make, prove and write one artifact.

    Args:
        jobs: processes that its accuracy may be measured by.
        outer: the bundle that this one is a part of, which is still being written.

    Raises:
        GateError: the artifact is not the model or loses too much; it is kept beside as `*.rejected`.
        SlideExportError: see each stage.
    """
    prepared = prepared.at_batch(plan.source.io.batch)
    plan = plan.on_this_machine().protecting(prepared.served.trained.float32)
    backend, numbers, target = registry.load(plan.target), plan.numbers, plan.target
    orders_inside.refuse_hidden(backend, prepared.served.trained.module)
    with step(f"run the trained model as {numbers.precision} would compute it"):
        prepared.reference(numbers)
    tuning = _tuning(plan, prepared, step)
    with step("choose the form"):
        form = prepared.in_form(",".join(stage.fastest for stage in tuning) or plan.source.form, target)
    source, calibration = source_of(plan, prepared, form, step)
    images, audited = observed_by_backend(plan, prepared)
    destination = plan.destination.path
    with staging.staging(destination, overwrite=plan.destination.overwrite) as directory:
        with step(f"write the {target} artifact"):
            options = replace(lowering_options(plan, prepared), calibration=images)
            artifact = backend.lower(source, directory, options)
        del source
        found = examine(plan, prepared, form, artifact, step, jobs)
        made = Made(
            name=plan.destination.name,
            variant=plan.source.checkpoint.variant,
            keep_fp32=plan.source.keep_fp32,
            served=form.served,
            fused=prepared.fused,
            certificate=prepared.certificate,
            artifact=artifact,
            proof=found.proof,
            dtype_stats=found.dtype_stats,
            tuning=tuning,
            quantization=numbers.recipe,
            calibration=calibration or audited,
            accuracy=found.accuracy,
            mixed=plan.found,
            asked=_asked(plan),
            float_build=found.float_build,
            plain_load=found.plain_load,
        )
        content = describe(made)
        if artifact.native is not None:
            inner = finish(plan.portable(directory), prepared, step, jobs, destination)
            content = replace(content, portable=inner.path.name)
        if numbers.recipe is not None:
            (directory / QUANTIZATION).write_text(dump(numbers.recipe, plan.destination.name, target))
        store.write(directory, content, found.golden, report.markdown(content))
        _judge(plan, made, staging.rejected(destination if outer is None else outer))
    return store.read(destination)


def _asked(plan: Plan) -> AskedFor:
    recipe = plan.numbers.recipe
    drawn = plan.calibration if recipe is not None and recipe.calibrated else None
    return AskedFor(
        weights_key=plan.source.checkpoint.weights_key,
        values=plan.source.checkpoint.values,
        preprocessing=plan.source.checkpoint.preprocessing,
        backend=plan.options,
        image_count=plan.source.image_count,
        calibration_size=None if drawn is None else drawn.count,
        seed=None if drawn is None else drawn.seed,
    )


def lowering_options(plan: Plan, prepared: Prepared) -> LoweringOptions:
    """What a backend is asked for; the class names may be those that stand beside the weights."""
    return LoweringOptions(plan.numbers.precision, prepared.request.io, plan.options, plan.numbers.recipe)


def source_of(
    plan: Plan, prepared: Prepared, form: ModelInForm, step: Progress
) -> tuple[OnnxGraph | ServedModel, CalibrationReport | None]:
    """What the backend starts from, in the precision where the graph carries it, and how it was calibrated."""
    backend, numbers = registry.load(plan.target), plan.numbers
    if backend.ACCEPTS is not OnnxGraph:
        return form.served, None
    if not form.exported:
        with step("export to ONNX"):
            form.graph  # noqa: B018  # exported now
    if not backend.PRECISIONS[numbers.precision.name]:
        return form.graph, None
    with step(f"write {numbers.precision} into the graph"):
        calibrated = reduce(plan, prepared, form, numbers)
    return calibrated.graph, calibrated.report


def reduce(plan: Plan, prepared: Prepared, form: ModelInForm, numbers: NumericFormat) -> Calibrated:
    """The graph in a precision, calibrated on images apart from the proof's and the evaluation's where it needs any."""
    if numbers.recipe is None or not numbers.recipe.calibrated:
        return Calibrated(*in_precision(form.graph, numbers, None))
    chosen = _drawn(plan, prepared)
    graph, found = in_precision(form.graph, numbers, prepared.fed(chosen))
    return Calibrated(graph, _with_overlap(found, chosen, prepared))


def observed_by_backend(plan: Plan, prepared: Prepared) -> tuple[FedImages | None, CalibrationReport | None]:
    """Images for a backend that calibrates by itself, and their audit; nothing where none does.

    Raises:
        CalibrationError: the images are not fit for calibration, see `audit`.
    """
    recipe, in_graph = plan.numbers.recipe, registry.load(plan.target).PRECISIONS[plan.numbers.precision.name]
    if recipe is None or not recipe.calibrated or in_graph:
        return None, None
    chosen = _drawn(plan, prepared)
    images = prepared.fed(chosen)
    return images, _with_overlap(audit(images.images, recipe.accept), chosen, prepared)


def _drawn(plan: Plan, prepared: Prepared) -> ImageSet:
    drawn = plan.calibration
    return calibration_images(prepared.images, prepared.proof_images, _judged_on(prepared), drawn.count, drawn.seed)


def _judged_on(prepared: Prepared) -> ImageSet | None:
    return None if prepared.evaluation is None else prepared.evaluation.images


def _with_overlap(found: CalibrationReport | None, chosen: ImageSet, prepared: Prepared) -> CalibrationReport | None:
    return with_overlap(found, chosen, prepared.proof_images, _judged_on(prepared))


def _tuning(plan: Plan, prepared: Prepared, step: Progress) -> tuple[StageTimes, ...]:
    return tune(prepared.fused, plan.target, lowering_options(plan, prepared), step) if plan.tune else ()


def _judge(plan: Plan, made: Made, kept: Path) -> None:
    against = plan.source.checkpoint.path
    hint = f"; diagnose {kept} {option('against')} {against} tells which layer loses most"
    gate.judge(
        made.proof,
        made.dtype_stats,
        plan.numbers.precision,
        f"; kept as {kept}",
        made.accuracy,
        hint,
        some_kept=bool(plan.source.keep_fp32),
    )
    stored.judge(made.float_build, f"; kept as {kept}")
