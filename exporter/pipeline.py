"""The way from a checkpoint to a bundle, one line a stage; and the way back, from a bundle to its proof."""

import importlib.metadata
import platform
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from slide_export.calibration.half import to_half
from slide_export.calibration.images import ImageSet, bundled, from_directory
from slide_export.calibration.preprocess import normalise

from . import backends, bundle, onnx_graph, parity, report, truth
from .backends import Backend, Session
from .checkpoint import load_checkpoint
from .errors import BundleError, ParityError, PrecisionError, RequestError
from .fuse import certify, fuse
from .lowering.choose import choose
from .types import (
    Artifact,
    BlockCertificate,
    Bundle,
    Census,
    LoweredModel,
    Model,
    OnnxGraph,
    Order,
    ParityReport,
    Recipe,
    Reference,
)

Step = Callable[[str], AbstractContextManager[Any]]
"""Told what begins, in a few words; the context ends when the stage does."""


def quiet(_what: str) -> AbstractContextManager[None]:
    """Reports nothing."""
    return nullcontext()


def run(recipe: Recipe, step: Step = quiet) -> Bundle:
    """Returns the proved bundle of a recipe.

    Raises:
        ParityError: the artifact is not the PyTorch model; it is kept beside as `*.rejected`.
        SlideExportError: see each stage.
    """
    backend = backends.require(recipe.target, recipe.precision)
    options = backends.complete_options(recipe.target, recipe.options)
    name = recipe.name or recipe.checkpoint.stem
    place = recipe.out / f"{name}-{recipe.target}-{recipe.precision}"
    bundle.refuse_existing(place, overwrite=recipe.overwrite)
    images = _images(recipe)
    with step("load the checkpoint"):
        model = load_checkpoint(
            recipe.checkpoint, variant=recipe.variant, weights=recipe.weights, input_size=recipe.input_size
        )
        _check_interface(recipe, model)
    with step(f"run the trained model on {len(images.files)} images in float64 and {recipe.precision}"):
        reference = parity.reference(model, images, recipe.interface, recipe.precision)
    with step("fuse and certify"):
        fused = fuse(model)
        certificate = certify(fused, _one_image(reference, model, recipe))
    with step("lower"):
        lowered = choose(fused, recipe.target, recipe.lowering)
    source: OnnxGraph | LoweredModel = lowered
    if backend.ACCEPTS is OnnxGraph:
        with step("export to ONNX"):
            source = onnx_graph.export(lowered, recipe.interface)
            if backend.PRECISION_IN_GRAPH and recipe.precision == "fp16":
                source = to_half(source)
    with bundle.staging(place, overwrite=recipe.overwrite) as directory:
        with step(f"write the {recipe.target} artifact"):
            artifact = backend.lower(source, directory, Order(recipe.precision, recipe.interface, options))
        del source
        with step("count what it stores and computes"):
            census = backend.census(artifact.path, artifact.settings)
        with step("check parity"):
            session = _session(backend, artifact.path, artifact.graph, artifact.settings)
            proof = parity.check(reference, session, recipe.interface.batch, classes=not recipe.interface.features)
        manifest = _manifest(recipe, name, lowered, artifact, certificate, proof, census)
        bundle.write(directory, manifest, parity.subset(reference, bundle.GOLDEN_IMAGES), report.markdown(manifest))
        _gate(proof, census, recipe.precision, f"; kept as {bundle.rejected(place)}")
    return bundle.read(place)


def verify(path: Path, against: Path | None = None, step: Step = quiet) -> ParityReport:
    """Returns a fresh proof of a bundle, from its golden file alone or from the checkpoint as well.

    Args:
        against: derive the reference anew from this checkpoint, on the golden inputs.

    Raises:
        BundleError: the bundle is incomplete or altered, or was made from another checkpoint.
        ParityError: the artifact is not the model.
    """
    with step("read the bundle"):
        made = bundle.read(path)
        manifest = made.manifest
        backend = backends.require(manifest["target"], manifest["precision"])
        reference = bundle.golden(made)
    options = manifest["options"]
    if against is not None:
        with step(f"run the trained model on the golden inputs in float64 and {manifest['precision']}"):
            reference = _rederive(against, manifest, reference)
    file, graph, settings = (manifest["artifact"][key] for key in ("path", "graph", "settings"))
    with step("count what it stores and computes"):
        census = backend.census(path / file, settings)
    with step("check parity"):
        session = _session(backend, path / file, path / graph if graph else None, settings)
        proof = parity.check(reference, session, options["batch"], classes=not options["features"])
    _gate(proof, census, manifest["precision"])
    return proof


def _session(backend: Backend, path: Path, graph: Path | None, settings: Mapping[str, Any]) -> Session:
    """Returns a session of the artifact or, where it cannot run, of the graph that it was built from."""
    obstacle = backend.obstacle()
    if obstacle is None or graph is None:
        return backend.Session(path, settings)
    session = backends.load("onnx").Session(graph, {})
    session.evaluator += f", on the artifact's own graph; the artifact has not run: {obstacle}"
    return session


def _gate(proof: ParityReport, census: Census, precision: str, kept: str = "") -> None:
    """Refuses what must not ship: another precision first, because it explains a wrong result."""
    if not truth.honoured(census, precision):
        raise PrecisionError(f"expected {precision}, found it not honoured: {truth.sentence(census, precision)}{kept}")
    if not proof.passed:
        raise ParityError(explain(proof) + kept)


def explain(proof: ParityReport) -> str:
    """Returns why a proof failed, in one sentence."""
    for output in proof.outputs:
        if not output.passed:
            return (
                f"expected {output.name} within {output.limit_max:.2e} (rms {output.limit_rms:.2e}) of the PyTorch "
                f"model, found {output.max_abs:.2e} (rms {output.rms:.2e}), {output.sqnr_db:.0f} dB: "
                "the artifact is not the model"
            )
    flip = proof.confident_flips[0]
    return f"expected class {flip.expected} for {flip.image}, found {flip.found} against a margin of {flip.margin:.2e}"


def _images(recipe: Recipe) -> ImageSet:
    if recipe.image_count < 1:
        raise RequestError(f"expected at least 1 image for the parity check, found {recipe.image_count}")
    images = bundled() if recipe.images is None else from_directory(recipe.images)
    return images.spread(recipe.image_count)


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


def _rederive(checkpoint: Path, manifest: Mapping[str, Any], golden: Reference) -> Reference:
    from .types import Interface

    made, options = manifest["checkpoint"], manifest["options"]
    rows, cols = manifest["model"]["image_size"]
    variant, weights = options["variant"], made["weights"]
    model = load_checkpoint(checkpoint, variant=variant, weights=weights, input_size=(rows, cols))
    if model.provenance.sha256 != made["sha256"]:
        raise BundleError(
            f"expected the checkpoint with sha256 {made['sha256'][:16]}…, {checkpoint} has "
            f"{model.provenance.sha256[:16]}…: the bundle was made from another file"
        )
    interface = Interface(
        options["batch"],
        options["embed_preprocessing"],
        options["softmax"],
        options["features"],
        tuple(manifest["labels"]),
    )
    return parity.rerun(model, golden, interface, manifest["precision"])


def _manifest(
    recipe: Recipe,
    name: str,
    lowered: LoweredModel,
    artifact: Artifact,
    certificate: tuple[BlockCertificate, ...],
    proof: ParityReport,
    census: Census,
) -> dict[str, Any]:
    model, interface = lowered.fused.trained, recipe.interface
    data, made = model.data, model.provenance
    return {
        "name": name,
        "target": artifact.target,
        "precision": artifact.precision,
        "artifact": {
            "path": artifact.path.name,
            "bytes": sum(file.stat().st_size for file in artifact.path.parent.rglob("*") if file.is_file()),
            "graph": artifact.graph.name if artifact.graph else None,
            "settings": dict(artifact.settings),
        },
        "checkpoint": {
            "file": made.path.name,
            "sha256": made.sha256,
            "weights": made.weights,
            "notes": list(made.notes),
        },
        "model": {
            "family": model.family,
            "variant": model.variant,
            "image_size": list(model.image_size),
            "parameters": sum(value.numel() for value in model.module.parameters()),
            "config": asdict(model.config),  # type: ignore[call-overload]  # every family's is a dataclass
        },
        "options": {
            "lowering": lowered.lowering,
            "variant": recipe.variant,
            "batch": interface.batch,
            "embed_preprocessing": interface.embed_preprocessing,
            "softmax": interface.softmax,
            "features": interface.features,
        },
        "inputs": [asdict(spec) for spec in artifact.inputs],
        "outputs": [asdict(spec) for spec in artifact.outputs],
        "labels": list(interface.labels),
        "preprocessing": {
            **asdict(data),
            "resize": list(data.resized(model.image_size)),
            "crop": list(model.image_size),
            "embedded": interface.embed_preprocessing,
        },
        "fusion": [asdict(block) for block in certificate],
        "parity": {**asdict(proof), "multiple": parity.MULTIPLE, "passed": proof.passed},
        "census": {**asdict(census), "sentence": truth.sentence(census, recipe.precision)},
        "versions": _versions(artifact.target),
    }


def _versions(target: str) -> dict[str, str]:
    ours = {name: importlib.metadata.version(name) for name in ("slide-export", "torch", "numpy", "pillow")}
    return {"python": platform.python_version(), **ours, **backends.availability(target).versions}
