"""The way from a checkpoint to a bundle, one line a stage."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from slide_export.calibration.images import ImageSet, bundled, find
from slide_export.calibration.preprocess import normalise
from slide_export.calibration.quantization import FILE as QUANTIZATION
from slide_export.calibration.quantization import calibration_images, in_precision, recipe_of
from slide_export.calibration.recipe import dump

from . import backends, bundle, evaluation, gate, manifest, onnx_graph, parity, report
from .checkpoint import load_checkpoint
from .errors import RequestError
from .fuse import certify, fuse
from .lowering.choose import choose
from .types import Bundle, CalibrationReport, LoweredModel, Model, OnnxGraph, Order, Recipe, Reference

Step = Callable[[str], AbstractContextManager[Any]]
"""Told what begins, in a few words; the context ends when the stage does."""


def quiet(_what: str) -> AbstractContextManager[None]:
    """Reports nothing."""
    return nullcontext()


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
    if recipe.keep_fp32 and quantization is None and recipe.precision not in backend.IN_GRAPH:
        raise RequestError(f"expected --keep-fp32 where the graph carries {recipe.precision}, found {recipe.target}")
    every, images = _images(recipe)
    with step("load the checkpoint"):
        model = load_checkpoint(
            recipe.checkpoint, variant=recipe.variant, weights=recipe.weights, input_size=recipe.input_size
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
    with step("lower"):
        lowered = choose(fused, recipe.target, recipe.lowering)
    source: OnnxGraph | LoweredModel = lowered
    calibration: CalibrationReport | None = None
    if backend.ACCEPTS is OnnxGraph:
        with step("export to ONNX"):
            source = onnx_graph.export(lowered, recipe.interface)
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
            artifact = backend.lower(
                source, directory, Order(recipe.precision, recipe.interface, options, quantization)
            )
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
        content = manifest.describe(recipe, name, lowered, artifact, certificate, proof, census, calibration, accuracy)
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
