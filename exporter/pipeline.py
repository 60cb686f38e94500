"""The way from a checkpoint to a bundle, one line a stage."""

import torch

from slide_export.calibration.half import to_half
from slide_export.calibration.images import ImageSet, bundled, from_directory
from slide_export.calibration.preprocess import normalise
from slide_export.models import COMPARISON, FAMILIES, ships

from . import backends, bundle, gate, manifest, onnx_graph, parity, report
from .checkpoint import load_checkpoint
from .errors import RequestError
from .fuse import certify, fuse
from .lowering.choose import choose
from .lowering.tune import StageTimes, tune
from .steps import Step, quiet
from .types import Bundle, FusedModel, LoweredModel, Model, OnnxGraph, Order, Recipe, Reference


def run(recipe: Recipe, step: Step = quiet) -> Bundle:
    """Returns the proved bundle of a recipe.

    Raises:
        ParityError: the artifact is not the PyTorch model; it is kept beside as `*.rejected`.
        SlideExportError: see each stage.
    """
    backend = backends.require(recipe.target, recipe.precision)
    order = Order(recipe.precision, recipe.interface, backends.complete_options(recipe.target, recipe.options))
    name = recipe.name or recipe.checkpoint.stem
    place = recipe.out / f"{name}-{recipe.target}-{recipe.precision}"
    bundle.refuse_existing(place, overwrite=recipe.overwrite)
    images = _images(recipe)
    with step("load the checkpoint"):
        model = load_checkpoint(
            recipe.checkpoint,
            variant=recipe.variant,
            weights=recipe.weights,
            input_size=recipe.input_size,
            families=(*FAMILIES, *COMPARISON) if recipe.comparison else FAMILIES,
        )
        _check_interface(recipe, model)
    with step(f"run the trained model on {len(images.files)} images in float64 and {recipe.precision}"):
        reference = parity.reference(model, images, recipe.interface, recipe.precision)
    with step("fuse and certify"):
        fused = fuse(model)
        certificate = certify(fused, _one_image(reference, model, recipe))
    tuning = _tune(fused, order, recipe, step)
    with step("lower"):
        lowered = choose(fused, recipe.target, ",".join(stage.fastest for stage in tuning) or recipe.lowering)
    source: OnnxGraph | LoweredModel = lowered
    if backend.ACCEPTS is OnnxGraph:
        with step("export to ONNX"):
            source = onnx_graph.export(lowered, recipe.interface, ships=ships(model.family))
            if backend.PRECISION_IN_GRAPH and recipe.precision == "fp16":
                source = to_half(source)
    with bundle.staging(place, overwrite=recipe.overwrite) as directory:
        with step(f"write the {recipe.target} artifact"):
            artifact = backend.lower(source, directory, order)
        del source
        with step("count what it stores and computes"):
            census = backend.census(artifact.path, artifact.settings)
        with step("check parity"):
            session = gate.open_session(backend, artifact.path, artifact.graph, artifact.settings)
            proof = parity.check(reference, session, recipe.interface.batch, classes=not recipe.interface.features)
        content = manifest.describe(recipe, name, lowered, artifact, certificate, proof, census, tuning)
        bundle.write(directory, content, parity.subset(reference, bundle.GOLDEN_IMAGES), report.markdown(content))
        gate.judge(proof, census, recipe.precision, f"; kept as {bundle.rejected(place)}")
    return bundle.read(place)


def _images(recipe: Recipe) -> ImageSet:
    if recipe.image_count < 1:
        raise RequestError(f"expected at least 1 image for the parity check, found {recipe.image_count}")
    images = bundled() if recipe.images is None else from_directory(recipe.images)
    return images.spread(recipe.image_count)


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
