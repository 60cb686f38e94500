"""From a bundle back to its proof."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TypeAlias

from slide_export.bundle import store as bundle
from slide_export.bundle.store import Bundle
from slide_export.calibration.accuracy import AccuracyReport
from slide_export.calibration.evaluation_set import EvaluationSet
from slide_export.calibration.image_cache import PictureStore
from slide_export.calibration.quantization import FILE, NumericFormat
from slide_export.calibration.recipe import QuantizationRecipe, parse
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import AccuracyError, BundleError, ParityError, option
from slide_export.core.model import Model
from slide_export.core.precision import precision_named
from slide_export.core.progress import Progress, no_progress
from slide_export.core.proof import ParityReport, Reference, Rule
from slide_export.core.request import AccuracyGoal
from slide_export.core.task import NOTHING_MORE, Known, Task
from slide_export.inference.served import ServedModel, serve
from slide_export.models import EXPORTED
from slide_export.proof import accuracy as evaluation
from slide_export.proof import gate, parity, plain_load
from slide_export.proof.ordering import ordering
from slide_export.proof.plain_load import no_order
from slide_export.proof.reference import rerun
from slide_export.tasks import TASKS, task_of

from .apart import opened_apart
from .opening import FittingSession, OpenedArtifact, Opening

_log = logging.getLogger(__name__)

SORTED_ELSEWHERE = (
    f"; or keys that tie come in another order here than where it was made: {option('against')} its checkpoint, both "
    "are told apart"
)
"""Behind a proof that failed without the model, of an artifact that sorts."""


@dataclass(frozen=True)
class OpenedBundle:
    """A bundle that was read and hashed once, with its artifact loaded once, for as many questions as there are.

    Attributes:
        golden: the reference that it carries.
        numbers: how its artifact computes.
        known: families and tasks of the caller's own.
    """

    bundle: Bundle
    golden: Reference
    numbers: NumericFormat
    artifact: OpenedArtifact
    known: Known = NOTHING_MORE

    @property
    def task(self) -> Task:
        """What the model is for."""
        return task_in(self.bundle, self.known)


@contextmanager
def open_bundle(
    path: Path, step: Progress = no_progress, opening: Opening = opened_apart, known: Known = NOTHING_MORE
) -> Iterator[OpenedBundle]:
    """Read a bundle and load its artifact, for `prove` and `accuracy`.

    Args:
        opening: where the artifact runs; `on_device` has others.

    Raises:
        BundleError: the bundle is incomplete or altered.
        BackendUnavailable: the target is not installed there.
    """
    with step("read the bundle"):
        made = bundle.read(path)
        golden, numbers = replace(bundle.golden(made), rule=rule_in(made, known)), numbers_of(made)
    with opening(made, step) as artifact:
        yield OpenedBundle(made, golden, numbers, artifact, known)


def prove(opened: OpenedBundle, served: ServedModel | None = None, step: Progress = no_progress) -> ParityReport:
    """The proof of a bundle again, its numbers also where they are beyond their limits.

    Args:
        served: the trained model, to derive the reference from on the golden inputs; None takes the golden file's.
    """
    made, reference, numbers = opened.bundle, opened.golden, opened.numbers
    if served is not None:
        with step(f"run the trained model on the golden inputs in float64 and {numbers.precision}"):
            reference = rerun(served, reference, numbers)
    sorts = no_order if served is None else partial(ordering, served, reference, numbers)
    with step("check parity"):
        proof = parity.check(
            reference,
            FittingSession(opened.artifact.session, reference),
            made.manifest.options.batch,
            decision_axis=opened.task.decision_axis,
            accepted=parity.accepted(numbers.precision, numbers.recipe),
            ordering=None if opened.artifact.orders is None else sorts(opened.artifact.orders),
        )
    _try_plain_load(opened, reference, proof, step)
    return proof


def _try_plain_load(opened: OpenedBundle, reference: Reference, proof: ParityReport, step: Progress) -> None:
    """Warn where a load without settings computes otherwise on this machine, with its error."""
    if opened.bundle.manifest.parity.orders:
        return  # it sorts, and by which order without settings is not read here
    with step("look at a load without settings"):
        plain = opened.artifact.load_plainly()
        if plain is None or plain.session is None:
            return
        batch, axis = opened.bundle.manifest.options.batch, opened.task.decision_axis
        found = plain_load.measure(plain, reference, batch, proof, axis)
    _log.warning("%s", found.sentence)


def judge(opened: OpenedBundle, proof: ParityReport, least_db: float | None = None) -> None:
    """Refuse a bundle that is not what it claims to be.

    Args:
        least_db: signal to noise that every output has to have, whatever the bundle's own recipe asks.

    Raises:
        GateError: the artifact is not the model, or not in the precision that it claims.
    """
    manifest = opened.bundle.manifest
    some_kept = bool(manifest.options.keep_fp32)
    gate.judge(
        proof,
        opened.artifact.census,
        precision_named(manifest.precision.name),
        hint=SORTED_ELSEWHERE if manifest.parity.orders and not proof.orders else "",
        some_kept=some_kept,
    )
    for output in proof.outputs:
        if least_db is not None and not output.sqnr_db >= least_db:
            raise ParityError(
                f"expected a signal to noise of {least_db:g} dB in {output.name}, found {output.sqnr_db:.1f} dB: "
                "ask for less, or take a bundle in a larger precision"
            )


def in_this_process(
    opened: OpenedBundle, served: ServedModel, data: EvaluationSet, goal: AccuracyGoal, store: PictureStore
) -> AccuracyReport:
    """Compare an artifact with the trained model, one image after the other."""
    return evaluation.evaluate(evaluation.of_pytorch(served), served, opened.artifact.session, data, goal, store)


Evaluate: TypeAlias = Callable[[OpenedBundle, ServedModel, EvaluationSet, AccuracyGoal, PictureStore], AccuracyReport]
"""Compares an artifact with the trained model on a set of images."""


def accuracy(
    opened: OpenedBundle,
    served: ServedModel,
    goal: AccuracyGoal,
    step: Progress = no_progress,
    evaluate: Evaluate = in_this_process,
) -> AccuracyReport:
    """What a bundle loses to the trained model on the images of a goal.

    Raises:
        CalibrationError: the images or their classes are not fit for the model.
        AccuracyError: it loses more than the goal allows.
    """
    with step("try the trained model on some of the evaluation images"):
        store = PictureStore(served.trained.data, served.trained.image_size, served.task.sample)
        data = evaluation.open_images(goal, served, store)
    with step(f"compare accuracy with PyTorch on {len(data.images.files)} images"):
        report = evaluate(opened, served, data, goal, store)
    if not report.passed:
        raise AccuracyError(gate.explain_accuracy(report))
    return report


def verify(
    path: Path,
    against: Path | Model | None = None,
    step: Progress = no_progress,
    opening: Opening = opened_apart,
    known: Known = NOTHING_MORE,
) -> ParityReport:
    """A fresh proof of a bundle, from its golden file alone or from the checkpoint as well.

    Args:
        against: derive the reference from this checkpoint, on the golden inputs; see `served_by`.
        opening: where the artifact runs.

    Raises:
        BundleError: the bundle is incomplete or altered, or was made from another checkpoint.
        GateError: the artifact is not the model, or not in the precision that it claims.
    """
    with open_bundle(path, step, opening, known) as opened:
        proof = prove(opened, trained(opened, against, step), step)
        judge(opened, proof)
        inside = opened.bundle.manifest.portable
    if inside is not None:
        verify(path / inside, against, step, opening, known)
    return proof


def measure_accuracy(path: Path, against: Path, goal: AccuracyGoal, step: Progress = no_progress) -> AccuracyReport:
    """What a bundle loses to the checkpoint that it was made from; see `accuracy`.

    Raises:
        BundleError: the bundle is incomplete or altered, or was made from another checkpoint.
    """
    with open_bundle(path, step) as opened:
        return accuracy(opened, served_by(opened.bundle, against), goal, step)


def trained(opened: OpenedBundle, against: Path | Model | None, step: Progress = no_progress) -> ServedModel | None:
    """The trained model, None where none was named; see `served_by`."""
    if against is None:
        return None
    with step("load the checkpoint"):
        return served_by(opened.bundle, against, opened.known)


def interface_of(made: Bundle) -> ModelIO:
    """What goes into a bundle's artifact and comes out of it."""
    options, outputs = made.manifest.options, made.manifest.outputs
    stages = tuple(one.name for one in outputs) if options.features else ()
    return ModelIO(
        options.batch,
        options.embed_preprocessing,
        options.softmax,
        options.features,
        made.manifest.labels,
        options.output,
        stages,
        options.nms,
    )


def rule_in(made: Bundle, known: Known = NOTHING_MORE) -> Rule | None:
    """What an output of a bundle is proved by that follows from the others; None where none does."""
    model = made.manifest.model
    return task_in(made, known).rule(interface_of(made), SimpleNamespace(**model.config), model.image_size)


def task_in(made: Bundle, known: Known = NOTHING_MORE) -> Task:
    """The task of a bundle's model.

    Raises:
        RequestError: it is neither slide_export's nor the caller's own.
    """
    return task_of(made.manifest.task, interface_of(made), known.tasks or TASKS)


def numbers_of(made: Bundle) -> NumericFormat:
    """How a bundle's artifact computes."""
    manifest = made.manifest
    return NumericFormat(precision_named(manifest.precision.name), quantization_of(made), manifest.options.keep_fp32)


def served_by(made: Bundle, against: Path | Model, known: Known = NOTHING_MORE) -> ServedModel:
    """The trained model that a bundle was made from, served as the bundle is.

    Args:
        against: the checkpoint, or the model loaded from it already.

    Raises:
        BundleError: the checkpoint is another one.
    """
    said, model, asked = made.manifest.checkpoint, against, made.manifest.options
    if isinstance(model, Path):
        model = load_checkpoint(
            model,
            variant=asked.variant,
            weights=said.weights,
            input_size=made.manifest.model.image_size,
            weights_key=asked.weights_key,
            values=asked.values,
            preprocessing=asked.preprocessing,
            features=asked.features,
            families=known.families or EXPORTED,
        )
    if model.provenance.sha256 != said.sha256:
        raise BundleError(
            f"expected the checkpoint with sha256 {said.sha256[:16]}…, {model.provenance.path} has "
            f"{model.provenance.sha256[:16]}…: the bundle was made from another file"
        )
    return serve(model, interface_of(made), known.tasks or None)


def quantization_of(made: Bundle) -> QuantizationRecipe | None:
    """How a bundle was quantized, None where it is a float one: a file that it does not list is no part of it.

    What `reduce_range: auto` came to is in the manifest; the recipe of an older bundle has it itself.
    """
    if FILE not in made.manifest.files:
        return None
    recipe = parse((made.path / FILE).read_text(encoding="utf-8"), FILE)
    said = made.manifest.quantization
    return recipe if said is None else replace(recipe, cpu_overflows=said.reduced_range)
