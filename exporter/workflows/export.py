"""The way from a checkpoint to a bundle, one line a stage."""

import torch

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.backends.interface import Backend, LoweringOptions, Session
from slide_export.benchmark.tune import tune
from slide_export.bundle import manifest, report
from slide_export.bundle import store as bundle
from slide_export.bundle.manifest import Made
from slide_export.bundle.store import Bundle
from slide_export.calibration.accuracy import AccuracyReport
from slide_export.calibration.evaluation_set import EvaluationSet
from slide_export.calibration.images import ImageSet, bundled, find, readable
from slide_export.calibration.preprocess import normalise
from slide_export.calibration.quantization import FILE as QUANTIZATION
from slide_export.calibration.quantization import calibration_images, in_precision, recipe_of, with_overlap
from slide_export.calibration.recipe import QuantizationRecipe, dump, refuse_other_library
from slide_export.calibration.report import CalibrationReport
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import RequestError
from slide_export.core.graph import OnnxGraph
from slide_export.core.model import InferenceModel, Model
from slide_export.core.precision import precision_named
from slide_export.core.progress import Progress, no_progress
from slide_export.core.proof import Reference
from slide_export.core.request import ExportRequest
from slide_export.graph import export as onnx_graph
from slide_export.inference.choose import choose
from slide_export.inference.fuse import certify, fuse
from slide_export.models import ALL, FAMILIES, ships
from slide_export.proof import accuracy as evaluation
from slide_export.proof import gate, parity
from slide_export.proof.session import open_session


def run(recipe: ExportRequest, step: Progress = no_progress) -> Bundle:
    """Returns the proved bundle of a recipe.

    Raises:
        GateError: the artifact is not the PyTorch model or loses too much; it is kept beside as `*.rejected`.
        SlideExportError: see each stage.
    """
    backend = backends.require(recipe.target, recipe.precision)
    options = backends.complete_options(recipe.target, recipe.options)
    name = recipe.name or recipe.checkpoint.stem
    place = recipe.out / f"{name}-{recipe.target}-{recipe.precision}"
    bundle.refuse_existing(place, overwrite=recipe.overwrite)
    quantization = recipe_of(recipe)
    _check_request(recipe, backend, quantization)
    every, images = _images(recipe)
    with step("load the checkpoint"):
        model = _load(recipe)
    judged_on = _evaluation(recipe, model, step)
    with step(f"run the trained model on {len(images.files)} images in float64 and {recipe.precision}"):
        reference = parity.reference(model, images, recipe.interface, recipe.precision, quantization, recipe.keep_fp32)
    with step("fuse and certify"):
        fused = fuse(model)
        certificate = certify(fused, _one_image(reference, model, recipe))
    precision = precision_named(recipe.precision)
    order = LoweringOptions(precision, recipe.interface, options, quantization)
    tuning = tune(fused, recipe.target, order, step) if recipe.tune else ()
    with step("lower"):
        lowered = choose(
            fused,
            ",".join(stage.fastest for stage in tuning) or recipe.form,
            auto=backends.default_form(recipe.target),
        )
    calibrated_on = calibration_images(every, images, recipe, judged_on)
    source, calibration = _source(lowered, backend, order, recipe, calibrated_on, step)
    calibration = with_overlap(calibration, calibrated_on, images, judged_on)
    with bundle.staging(place, overwrite=recipe.overwrite) as directory:
        with step(f"write the {recipe.target} artifact"):
            artifact = backend.lower(source, directory, order)
        del source
        with step("count what it stores and computes"):
            census = optional.dtype_stats(backend, artifact.path, artifact.settings)
        with step("check parity"):
            session = open_session(backend, artifact.path, artifact.graph, artifact.settings)
            accepted, classes = parity.accepted(quantization), not recipe.interface.features
            proof = parity.check(reference, session, recipe.interface.batch, classes=classes, accepted=accepted)
        accuracy = _accuracy(recipe, model, session, judged_on, step)
        made = Made(lowered, artifact, certificate, proof, census, tuning, quantization, calibration, accuracy)
        content = manifest.describe(recipe, name, made)
        if quantization is not None:
            (directory / QUANTIZATION).write_text(dump(quantization, name, recipe.target))
        bundle.write(directory, content, parity.subset(reference, bundle.GOLDEN_IMAGES), report.markdown(content))
        kept = bundle.rejected(place)
        hint = f"; `slide-export diagnose {kept} --against {recipe.checkpoint}` tells which layer loses most"
        some_kept = bool(recipe.keep_fp32)
        gate.judge(proof, census, precision, f"; kept as {kept}", accuracy, hint, some_kept=some_kept)
    return bundle.read(place)


def _check_request(recipe: ExportRequest, backend: Backend, quantization: QuantizationRecipe | None) -> None:
    if recipe.keep_fp32 and quantization is None and not backend.PRECISIONS[recipe.precision]:
        raise RequestError(f"expected --keep-fp32 where the graph carries {recipe.precision}, found {recipe.target}")
    if quantization is not None:
        refuse_other_library(quantization, recipe.target, in_graph=backend.PRECISIONS[recipe.precision])
    if recipe.tune and recipe.form != "auto":
        raise RequestError(f"expected --tune or --form, found both: leave out --form {recipe.form}")


def _load(recipe: ExportRequest) -> Model:
    model = load_checkpoint(
        recipe.checkpoint,
        variant=recipe.variant,
        weights=recipe.weights,
        input_size=recipe.input_size,
        families=ALL if recipe.comparison else FAMILIES,
    )
    _check_interface(recipe, model)
    return model


def _evaluation(recipe: ExportRequest, model: Model, step: Progress) -> EvaluationSet | None:
    """Returns what the accuracy is judged on, tried with the trained model; None where nothing is asked."""
    if recipe.accuracy is None:
        return None
    with step("try the trained model on some of the evaluation images"):
        return evaluation.open_images(recipe.accuracy, model, recipe.interface)


def _source(
    lowered: InferenceModel,
    backend: Backend,
    order: LoweringOptions,
    recipe: ExportRequest,
    calibrated_on: ImageSet,
    step: Progress,
) -> tuple[OnnxGraph | InferenceModel, CalibrationReport | None]:
    """Returns what the backend starts from, in the precision where the graph carries it, and how it was calibrated."""
    if backend.ACCEPTS is not OnnxGraph:
        return lowered, None
    model = lowered.fused.trained
    with step("export to ONNX"):
        graph = onnx_graph.export(lowered, order.interface, ships=ships(model.family))
    if not backend.PRECISIONS[order.precision.name]:
        return graph, None
    with step(f"write {order.precision} into the graph"):
        return in_precision(
            graph, order.precision.name, order.quantization, calibrated_on, model, order.interface, recipe.keep_fp32
        )


def _accuracy(
    recipe: ExportRequest, model: Model, session: Session, judged_on: EvaluationSet | None, step: Progress
) -> AccuracyReport | None:
    """Returns what the artifact loses to the trained model; None where nothing is asked."""
    if recipe.accuracy is None or judged_on is None:
        return None
    with step(f"compare accuracy with PyTorch on {len(judged_on.images.files)} images"):
        return evaluation.evaluate(model, session, judged_on, recipe.accuracy, recipe.interface)


def _images(recipe: ExportRequest) -> tuple[ImageSet, ImageSet]:
    """Returns every image, and those of the proof."""
    if recipe.image_count < 1:
        raise RequestError(f"expected at least 1 image for the parity check, found {recipe.image_count}")
    images = bundled() if recipe.images is None else find(recipe.images)
    return images, readable(images, recipe.image_count)


def _check_interface(recipe: ExportRequest, model: Model) -> None:
    interface, classes = recipe.interface, model.config.num_classes
    if interface.features and (interface.softmax or interface.labels):
        raise RequestError("expected --features without --softmax and --labels: stage maps have no classes")
    if interface.labels and len(interface.labels) != classes:
        raise RequestError(f"expected {classes} labels, one a class of the head; found {len(interface.labels)}")


def _one_image(reference: Reference, model: Model, recipe: ExportRequest) -> torch.Tensor:
    """Returns the first image, normalised, [1, 3, H, W]."""
    fed = reference.feeds[recipe.interface.input_name][:1]
    return torch.from_numpy(normalise(fed, model.data) if recipe.interface.embed_preprocessing else fed)
