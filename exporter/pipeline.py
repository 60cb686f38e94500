"""The way from a checkpoint to a bundle, one line a stage."""

import torch

from slide_export.calibration.images import ImageSet, bundled, find
from slide_export.calibration.preprocess import normalise
from slide_export.calibration.quantization import FILE as QUANTIZATION
from slide_export.calibration.quantization import calibration_images, in_precision, recipe_of
from slide_export.calibration.recipe import dump
from slide_export.models import COMPARISON, FAMILIES, ships

from . import backends, bundle, evaluation, gate, manifest, onnx_graph, parity, report
from .checkpoint import load_checkpoint
from .errors import RequestError
from .fuse import certify, fuse
from .lowering.choose import choose
from .lowering.tune import StageTimes, tune
from .steps import Step, quiet
from .types import Bundle, CalibrationReport, FusedModel, LoweredModel, Model, OnnxGraph, Order, Recipe, Reference


def run(recipe: Recipe, step: Step = quiet) -> Bundle:
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
    order = Order(recipe.precision, recipe.interface, options, quantization)
    if recipe.keep_fp32 and quantization is None and recipe.precision not in backend.IN_GRAPH:
        raise RequestError(f"expected --keep-fp32 where the graph carries {recipe.precision}, found {recipe.target}")
    every, images = _images(recipe)
    with step("load the checkpoint"):
        model = load_checkpoint(
            recipe.checkpoint,
            variant=recipe.variant,
            weights=recipe.weights,
            input_size=recipe.input_size,
            families=(*FAMILIES, *COMPARISON) if recipe.comparison else FAMILIES,
        )
        _check_interface(recipe, model)
    goal, judged_on = recipe.accuracy, None
    if goal is not None:
        with step("try the trained model on some of the evaluation images"):
            judged_on = evaluation.open_images(goal, model, recipe.interface)
    with step(f"run the trained model on {len(images.files)} images in float64 and {recipe.precision}"):
        reference = parity.reference(model, images, recipe.interface, recipe.precision, quantization)
    with step("fuse and certify"):
        fused = fuse(model)
        certificate = certify(fused, _one_image(reference, model, recipe))
    tuning = _tune(fused, order, recipe, step)
    with step("lower"):
        lowered = choose(fused, recipe.target, ",".join(stage.fastest for stage in tuning) or recipe.lowering)
    source: OnnxGraph | LoweredModel = lowered
    calibration: CalibrationReport | None = None
    if backend.ACCEPTS is OnnxGraph:
        with step("export to ONNX"):
            source = onnx_graph.export(lowered, recipe.interface, ships=ships(model.family))
        if recipe.precision in backend.IN_GRAPH:
            calibrated_on = calibration_images(every, images, recipe)
            with step(f"write {recipe.precision} into the graph"):
                source, calibration = in_precision(
                    source,
                    recipe.precision,
                    quantization,
                    calibrated_on,
                    model,
                    recipe.interface,
                    recipe.keep_fp32,
                )
    with bundle.staging(place, overwrite=recipe.overwrite) as directory:
        with step(f"write the {recipe.target} artifact"):
            artifact = backend.lower(source, directory, order)
        del source
        with step("count what it stores and computes"):
            census = backend.census(artifact.path, artifact.settings)
        with step("check parity"):
            session = gate.open_session(backend, artifact.path, artifact.graph, artifact.settings)
            proof = parity.check(
                reference,
                session,
                recipe.interface.batch,
                classes=not recipe.interface.features,
                accepted=parity.accepted(quantization),
            )
        accuracy = None
        if goal is not None and judged_on is not None:
            with step(f"compare accuracy with PyTorch on {len(judged_on.images.files)} images"):
                accuracy = evaluation.evaluate(model, session, judged_on, goal, recipe.interface)
        content = manifest.describe(
            recipe, name, lowered, artifact, certificate, proof, census, tuning, calibration, accuracy
        )
        if quantization is not None:
            (directory / QUANTIZATION).write_text(dump(quantization, f"{name}, {recipe.target} {recipe.precision}"))
        bundle.write(directory, content, parity.subset(reference, bundle.GOLDEN_IMAGES), report.markdown(content))
        kept = bundle.rejected(place)
        hint = f"; `slide-export diagnose {kept} --against {recipe.checkpoint}` names the layer"
        gate.judge(
            proof, census, recipe.precision, f"; kept as {kept}", accuracy, hint, some_kept=bool(recipe.keep_fp32)
        )
    return bundle.read(place)


def _images(recipe: Recipe) -> tuple[ImageSet, ImageSet]:
    """Returns every image, and those of the proof."""
    if recipe.image_count < 1:
        raise RequestError(f"expected at least 1 image for the parity check, found {recipe.image_count}")
    images = bundled() if recipe.images is None else find(recipe.images)
    return images, images.spread(recipe.image_count)


def _tune(fused: FusedModel, order: Order, recipe: Recipe, step: Step) -> tuple[StageTimes, ...]:
    if not recipe.tune:
        return ()
    if recipe.lowering != "auto":
        raise RequestError(f"expected --tune or --lowering, found both: leave out --lowering {recipe.lowering}")
    return tune(fused, recipe.target, order, step)


def _check_interface(recipe: Recipe, model: Model) -> None:
    interface, classes = recipe.interface, model.config.num_classes
    if interface.features and (interface.softmax or interface.labels):
        raise RequestError("expected --features without --softmax and --labels: stage maps have no classes")
    if interface.labels and len(interface.labels) != classes:
        raise RequestError(f"expected {classes} labels, one a class of the head; found {len(interface.labels)}")


def _one_image(reference: Reference, model: Model, recipe: Recipe) -> torch.Tensor:
    """Returns the first image, normalised, [1, 3, H, W]."""
    fed = reference.feeds[recipe.interface.input_name][:1]
    return torch.from_numpy(normalise(fed, model.data) if recipe.interface.embed_preprocessing else fed)
