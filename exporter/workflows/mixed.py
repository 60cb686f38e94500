"""`--precision mixed`: int8, or half, with the fewest layers in float that reach the goal and, in int8, pass the proof.

The graph is exported and calibrated once. Each try edits its casts or its Q/DQ and runs on the target's own runtime,
where that is here. What is found is exported, proved and judged like every other artifact. What was kept is in the
manifest, and in int8 in the bundle's recipe; in fp16, which has no recipe, `--keep-fp32` says it again.
"""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.backends.interface import Backend, LoweringOptions, Session
from slide_export.bundle import store as bundle
from slide_export.bundle.store import Bundle
from slide_export.calibration import accuracy
from slide_export.calibration.accuracy import AccuracyGoal, AccuracyReport
from slide_export.calibration.evaluation_set import EvaluationSet
from slide_export.calibration.fp16 import to_half
from slide_export.calibration.images import ImageSet, bundled, find, readable
from slide_export.calibration.layer_selection import layers, selected
from slide_export.calibration.quantization import calibration_images, in_precision, recipe_of
from slide_export.calibration.recipe import QuantizationRecipe, refuse_other_library
from slide_export.calibration.revert_to_float import keep_float
from slide_export.calibration.sensitivity import MixedSearch, fewest, rank
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.artifact import Outputs
from slide_export.core.errors import AccuracyError, ParityError, RequestError
from slide_export.core.graph import OnnxGraph
from slide_export.core.model import Model
from slide_export.core.precision import precision_named
from slide_export.core.progress import Progress, no_progress
from slide_export.core.proof import ParityReport
from slide_export.core.request import ExportRequest
from slide_export.graph import export as onnx_graph
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.proof import accuracy as evaluation
from slide_export.proof import gate, parity
from slide_export.proof import session as sessions

from .export import run

MIXED = "mixed"
BASES = ("int8", "fp16")
FEW = 16  # images on which a layer is measured alone
ENOUGH = 64  # images on which the goal is measured where no --eval says which


def export(recipe: ExportRequest, step: Progress = no_progress) -> Bundle:
    """Returns the proved bundle of a recipe, after the search where its precision is mixed.

    Raises:
        RequestError: the target's graph does not carry the precision that is mixed with float.
        AccuracyError: the goal is not reached with every layer in float.
        ParityError: the proof is not passed, whatever is kept in float.
        SlideExportError: see `pipeline.run`.
    """
    if recipe.precision != MIXED:
        return run(recipe, step)
    if recipe.tune:
        raise RequestError("expected --precision mixed or --tune, found both: tune first, and name what it found here")
    name = f"{recipe.name or recipe.checkpoint.stem}-{MIXED}"
    based = replace(recipe, precision=recipe.mixed_base, name=name)
    bundle.refuse_existing(
        recipe.out / f"{name}-{recipe.target}-{based.precision}", overwrite=recipe.overwrite
    )  # before any work
    found = search(based, step)
    return run(replace(based, keep_fp32=(*recipe.keep_fp32, *found.kept), mixed=found), step)


def search(recipe: ExportRequest, step: Progress = no_progress) -> MixedSearch:
    """Returns which layers stay in float so that the rest may be in the recipe's precision."""
    tries = _prepare(recipe, step)
    reports: dict[tuple[str, ...], AccuracyReport] = {}
    proofs: dict[tuple[str, ...], ParityReport] = {}

    def reaches(keep: Sequence[str]) -> bool:
        kept = tuple(keep)
        if kept not in reports:
            reports[kept], proofs[kept] = tries.prove(kept)
        return reports[kept].passed and proofs[kept].passed

    with step(f"measure every layer in {recipe.precision}, and every one in float"):
        if reaches(()):
            return MixedSearch(recipe.precision, (), (), *2 * (_said(reports[()]),))
        if not reaches(tries.layers) and not reports[tries.layers].passed:
            best = gate.explain_accuracy(reports[tries.layers])
            raise AccuracyError(f"{best}, with every layer in float: the goal is out of reach")
    with step(f"measure each of {len(tries.layers)} layers alone in {recipe.precision}"):
        few = tries.on(tries.data.images.spread(FEW))
        ranking = rank(tries.layers, lambda keep: few.measure(keep).sqnr_db)
    with step("find the fewest layers to keep in float"):
        kept = fewest([one.module for one in ranking], reaches)
    if kept is None:
        raise ParityError(f"{gate.explain(proofs[tries.layers])}, whatever is kept in float")
    return MixedSearch(recipe.precision, ranking, kept, _said(reports[()]), _said(reports[kept]))


def _said(report: AccuracyReport) -> str:
    return evaluation.sentence(asdict(report))


@dataclass(frozen=True)
class _Tries:
    """What a try needs: the model, the images, and how to open the artifact that keeps some layers in float.

    Attributes:
        data: what the goal is measured on.
        proved_on: the images of the proof.
        layers: that could be reduced.
    """

    model: Model
    recipe: ExportRequest
    quantization: QuantizationRecipe | None
    data: EvaluationSet
    proved_on: ImageSet
    goal: AccuracyGoal
    layers: tuple[str, ...]
    open: Callable[[Sequence[str], Path], Session]
    expected: dict[str, Outputs]

    def on(self, images: Any) -> "_Tries":
        """Returns the same on other images, without classes."""
        return replace(self, data=EvaluationSet(images))

    def measure(self, keep: Sequence[str]) -> AccuracyReport:
        """Returns what is lost with some layers in float."""
        with tempfile.TemporaryDirectory() as directory:
            return self._accuracy(self.open(keep, Path(directory)))

    def prove(self, keep: Sequence[str]) -> tuple[AccuracyReport, ParityReport]:
        """Returns the same and what the parity check will find."""
        interface, recipe, kept = self.recipe.interface, self.quantization, (*self.recipe.keep_fp32, *keep)
        if recipe is not None:
            recipe = replace(recipe, keep_fp32=(*recipe.keep_fp32, *keep))
        reference = parity.reference(self.model, self.proved_on, interface, self.recipe.precision, recipe, kept)
        accepted, classes = parity.accepted(recipe), not interface.features
        with tempfile.TemporaryDirectory() as directory:
            session = self.open(keep, Path(directory))
            proof = parity.check(reference, session, interface.batch, classes=classes, accepted=accepted)
            return self._accuracy(session), proof

    def _accuracy(self, session: Session) -> AccuracyReport:
        scores = evaluation.of_session(session, self.model, self.recipe.interface)
        size, config = self.model.image_size, self.model.data
        return accuracy.compare(self._pytorch, scores, self.data, config, size, self.goal, session.evaluator)

    def _pytorch(self, pictures: NDArray[np.uint8]) -> Outputs:
        """Returns the trained model's outputs, computed once for each chunk of pictures."""
        name = hashlib.sha256(pictures.tobytes()).hexdigest()
        if name not in self.expected:
            self.expected[name] = evaluation.of_pytorch(self.model, self.recipe.interface)(pictures)
        return self.expected[name]


def _prepare(recipe: ExportRequest, step: Progress) -> _Tries:
    backend = backends.require(recipe.target, recipe.precision)
    if not backend.PRECISIONS[recipe.precision]:
        able = [name for name in backends.names() if backends.load(name).PRECISIONS.get(recipe.precision)]
        raise RequestError(
            f"expected a target whose graph carries {recipe.precision} to mix it with float, {', '.join(able)}; "
            f"found {recipe.target}"
        )
    quantization = recipe_of(recipe)
    if quantization is not None:
        refuse_other_library(quantization, recipe.target, in_graph=backend.PRECISIONS[recipe.precision])
    with step("load the checkpoint"):
        model = load_checkpoint(
            recipe.checkpoint, variant=recipe.variant, weights=recipe.weights, input_size=recipe.input_size
        )
    images = bundled() if recipe.images is None else find(recipe.images)
    goal = recipe.accuracy or AccuracyGoal(images.root)
    with step("try the trained model on some of the evaluation images"):
        data = EvaluationSet(images.sample(ENOUGH, recipe.seed))
        if recipe.accuracy is not None:
            data = evaluation.open_images(goal, model, recipe.interface)
    with step("export to ONNX"):
        full = onnx_graph.export(
            choose(fuse(model), recipe.form, auto=backends.default_form(recipe.target)), recipe.interface
        )
        found = layers(full.proto)
    names = list(found) if quantization is None else selected(found, quantization)
    judged_on = None if recipe.accuracy is None else data
    proved_on = readable(images, recipe.image_count)
    calibrated_on = calibration_images(images, proved_on, recipe, judged_on)
    edit = _editor(recipe, full, quantization, model, calibrated_on, step)
    modules = tuple(dict.fromkeys(found[name][0] for name in names))

    def opened(keep: Sequence[str], directory: Path) -> Session:
        return _open(backend, edit(keep), recipe, quantization, directory)

    return _Tries(model, recipe, quantization, data, proved_on, goal, modules, opened, {})


def _editor(
    recipe: ExportRequest,
    full: OnnxGraph,
    quantization: QuantizationRecipe | None,
    model: Model,
    calibrated_on: ImageSet,
    step: Progress,
) -> Callable[[Sequence[str]], OnnxGraph]:
    """Returns what gives the graph with some modules in float."""
    if quantization is None:
        return lambda keep: to_half(full, (*recipe.keep_fp32, *keep))
    with step(f"write {recipe.precision} into the graph"):
        copied = OnnxGraph(type(full.proto).FromString(full.proto.SerializeToString()), full.inputs, full.outputs)
        reduced, _ = in_precision(copied, recipe.precision, quantization, calibrated_on, model, recipe.interface)
    return lambda keep: keep_float(reduced, full, keep)


def _open(
    backend: Backend, graph: OnnxGraph, recipe: ExportRequest, quantization: QuantizationRecipe | None, directory: Path
) -> Session:
    """Returns a session of the target's own artifact, or of the graph where the target does not run here."""
    if reason := optional.unavailable_reason(backend):
        path = directory / "model.onnx"
        path.write_bytes(graph.proto.SerializeToString(deterministic=True))
        return sessions.on_graph(backends.load(sessions.GRAPHS).Session(path, sessions.LITERALLY), reason)
    options = backends.complete_options(recipe.target, recipe.options)
    artifact = backend.lower(
        graph, directory, LoweringOptions(precision_named(recipe.precision), recipe.interface, options, quantization)
    )
    return backend.Session(artifact.path, artifact.settings)
