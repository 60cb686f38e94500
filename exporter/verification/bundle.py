"""From a bundle back to its proof."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slide_export.backends import registry as backends
from slide_export.backends.interface import Backend, Session
from slide_export.bundle import store as bundle
from slide_export.bundle.store import Bundle
from slide_export.calibration.accuracy import AccuracyGoal, AccuracyReport
from slide_export.calibration.image_cache import PictureStore
from slide_export.calibration.quantization import FILE, NumericFormat
from slide_export.calibration.recipe import QuantizationRecipe, parse
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.artifact import DtypeStats, ModelIO
from slide_export.core.errors import AccuracyError, BundleError
from slide_export.core.model import Model
from slide_export.core.progress import Progress, no_progress
from slide_export.core.proof import ParityReport
from slide_export.core.task import Task
from slide_export.inference.served import ServedModel, serve
from slide_export.proof import accuracy as evaluation
from slide_export.proof import gate, parity
from slide_export.proof.reference import rerun
from slide_export.tasks import task_of


@dataclass(frozen=True)
class VerifiedBundle:
    """A bundle with what was found in it, before any verdict."""

    bundle: Bundle
    proof: ParityReport
    census: DtypeStats


@dataclass(frozen=True)
class OpenedArtifact:
    """An artifact where it runs."""

    session: Session
    census: DtypeStats


Opening = Callable[[Bundle, Progress], AbstractContextManager[OpenedArtifact]]
"""Opens a bundle's artifact where it is to be proved."""


@contextmanager
def opened_here(made: Bundle, step: Progress) -> Iterator[OpenedArtifact]:
    """Yields the artifact, opened on this machine.

    Raises:
        BackendUnavailable: the target is not installed here.
    """
    backend, path, graph, settings = artifact_of(made)
    with step("count what it stores and computes"):
        census = backend.census(path, settings)
    yield OpenedArtifact(gate.open_session(backend, path, graph, settings), census)


def verify(
    path: Path, against: Path | Model | None = None, step: Progress = no_progress, opening: Opening = opened_here
) -> ParityReport:
    """Returns a fresh proof of a bundle, from its golden file alone or from the checkpoint as well.

    Args:
        against: derive the reference anew from this checkpoint, on the golden inputs.
        opening: where the artifact runs; `places.proof` has others.

    Raises:
        BundleError: the bundle is incomplete or altered, or was made from another checkpoint.
        GateError: the artifact is not the model, or not in the precision that it claims.
    """
    proven = prove(path, against, step, opening)
    judge(proven)
    return proven.proof


def prove(
    path: Path, against: Path | Model | None = None, step: Progress = no_progress, opening: Opening = opened_here
) -> VerifiedBundle:
    """Returns what was found in a bundle, its numbers also where they are beyond their limits; see `verify`.

    Raises:
        BundleError: the bundle is incomplete or altered, or was made from another checkpoint.
    """
    with step("read the bundle"):
        made = bundle.read(path)
        manifest, options = made.manifest, made.manifest["options"]
        reference = bundle.golden(made)
        quantization = quantization_of(made)
    with opening(made, step) as found:
        if against is not None:
            with step(f"run the trained model on the golden inputs in float64 and {manifest['precision']}"):
                reference = rerun(served_by(made, against), reference, numbers_of(made))
        with step("check parity"):
            accepted, axis = parity.accepted(quantization), task_in(made).decision_axis
            proof = parity.check(reference, found.session, options["batch"], decision_axis=axis, accepted=accepted)
    return VerifiedBundle(made, proof, found.census)


def judge(proven: VerifiedBundle) -> None:
    """Refuses a bundle that is not what it claims to be.

    Raises:
        GateError: the artifact is not the model, or not in the precision that it claims.
    """
    manifest = proven.bundle.manifest
    gate.judge(proven.proof, proven.census, manifest["precision"], some_kept=bool(manifest["options"]["keep_fp32"]))


def measure_accuracy(path: Path, against: Path, goal: AccuracyGoal, step: Progress = no_progress) -> AccuracyReport:
    """Returns what a bundle loses to the checkpoint that it was made from, on the images of a goal.

    Raises:
        BundleError: the bundle is incomplete or altered, or was made from another checkpoint.
        CalibrationError: the images or their classes are not fit for the model.
        AccuracyError: it loses more than the goal allows.
    """
    with step("try the trained model on some of the evaluation images"):
        made = bundle.read(path)
        served = served_by(made, against)
        store = PictureStore(served.trained.data, served.trained.image_size, served.task.sample)
        data = evaluation.open_images(goal, served, store)
    with step(f"compare accuracy with PyTorch on {len(data.images.files)} images"):
        report = evaluation.evaluate(served, open_bundle(made), data, goal, store)
    if not report.passed:
        raise AccuracyError(gate.explain_accuracy(report))
    return report


def open_bundle(made: Bundle) -> Session:
    """Returns a session of a bundle's artifact or, where it cannot run, of the graph that it was built from.

    Raises:
        BackendUnavailable: the target is not installed here.
    """
    return gate.open_session(*artifact_of(made))


def artifact_of(made: Bundle) -> tuple[Backend, Path, Path | None, Mapping[str, Any]]:
    """Returns backend, path, graph and settings of a bundle's artifact, what `gate` opens it with.

    Raises:
        BackendUnavailable: the target is not installed here.
    """
    manifest = made.manifest
    backend = backends.require(manifest["target"], manifest["precision"])
    file, graph, settings = (manifest["artifact"][key] for key in ("path", "graph", "settings"))
    return backend, made.path / file, made.path / graph if graph else None, settings


def interface_of(made: Bundle) -> ModelIO:
    """Returns what goes into a bundle's artifact and comes out of it."""
    options = made.manifest["options"]
    return ModelIO(
        options["batch"],
        options["embed_preprocessing"],
        options["softmax"],
        options["features"],
        tuple(made.manifest["labels"]),
    )


def task_in(made: Bundle) -> Task:
    """The task of a bundle's model; bundles of schema 1 are classifiers or give stage maps."""
    io = interface_of(made)
    return task_of(made.manifest.get("task", "classify"), io)


def numbers_of(made: Bundle) -> NumericFormat:
    """How a bundle's artifact computes."""
    manifest = made.manifest
    return NumericFormat(manifest["precision"], quantization_of(made), tuple(manifest["options"]["keep_fp32"]))


def served_by(made: Bundle, against: Path | Model) -> ServedModel:
    """The trained model that a bundle was made from, served as the bundle is.

    Args:
        against: the checkpoint, or the model loaded from it already.

    Raises:
        BundleError: the checkpoint is another one.
    """
    manifest = made.manifest
    said, (rows, cols) = manifest["checkpoint"], manifest["model"]["image_size"]
    variant, weights = manifest["options"]["variant"], said["weights"]
    model = against
    if isinstance(model, Path):
        model = load_checkpoint(model, variant=variant, weights=weights, input_size=(rows, cols))
    if model.provenance.sha256 != said["sha256"]:
        raise BundleError(
            f"expected the checkpoint with sha256 {said['sha256'][:16]}…, {model.provenance.path} has "
            f"{model.provenance.sha256[:16]}…: the bundle was made from another file"
        )
    return serve(model, interface_of(made))


def quantization_of(made: Bundle) -> QuantizationRecipe | None:
    """Returns how a bundle was quantized, None where it is a float one: a file that it does not list is no part of it.

    What `reduce_range: auto` came to is in the manifest; the recipe of an older bundle has it itself.
    """
    if FILE not in made.manifest["files"]:
        return None
    recipe = parse((made.path / FILE).read_text(encoding="utf-8"), FILE)
    said = made.manifest.get("quantization")
    return recipe if said is None else replace(recipe, cpu_overflows=said["reduced_range"])
