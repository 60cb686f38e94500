"""Mixed precision: int8, or fp16, with the fewest layers in float that reach the goal and pass the proof.

The graph is exported and calibrated once, and the checkpoint prepared once. Each try edits the casts or the Q/DQ of
that graph and runs on the target's own runtime, where that is here. What is found is then finished like every other
artifact. What was kept is in the manifest and, in int8, in the bundle's recipe.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from slide_export.backends import optional, registry
from slide_export.backends.interface import Session
from slide_export.calibration.accuracy import AccuracyReport
from slide_export.calibration.evaluation_set import EvaluationSet
from slide_export.calibration.fp16 import to_half
from slide_export.calibration.layer_selection import layers, selected
from slide_export.calibration.revert_to_float import keep_float
from slide_export.calibration.sensitivity import MixedSearch, fewest, rank
from slide_export.core.errors import AccuracyError, ParityError
from slide_export.core.graph import OnnxGraph
from slide_export.core.progress import Progress, no_progress
from slide_export.core.proof import ParityReport
from slide_export.core.request import AccuracyGoal
from slide_export.graph.convert import to_ir
from slide_export.proof import accuracy, gate, parity
from slide_export.proof.ordering import ordering
from slide_export.proof.orders_inside import open_orders
from slide_export.proof.session import GRAPHS, LITERALLY, on_graph

from .finish import lowering_options, reduce
from .prepare import ModelInForm, Prepared
from .resolve import Plan

LAYER_IMAGES = 16  # on which a layer is measured alone
GOAL_IMAGES = 64  # on which the goal is measured where the request names no evaluation images


def search(plan: Plan, prepared: Prepared, step: Progress = no_progress) -> MixedSearch:
    """Which layers stay in float so that the rest may be in the plan's precision.

    Raises:
        AccuracyError: the goal is not reached with every layer in float.
        ParityError: the proof is not passed, whatever is kept in float; where the noise floor tells so, at once.
    """
    plan = plan.on_this_machine()
    precision = plan.numbers.precision.name
    tries = _tries(plan, prepared, step)
    prepared.reference(plan.numbers.keeping(tries.layers))
    reports: dict[tuple[str, ...], AccuracyReport] = {}
    proofs: dict[tuple[str, ...], ParityReport] = {}

    def reaches(keep: Sequence[str]) -> bool:
        """Whether accuracy and parity pass with these layers in float; each set is tried once."""
        kept = tuple(keep)
        if kept not in reports:
            reports[kept], proofs[kept] = tries.prove(kept)
        return reports[kept].passed and proofs[kept].passed and prepared.holds(plan.numbers.keeping(kept))

    with step(f"measure every layer in {precision}, and every one in float"):
        if reaches(()):
            return MixedSearch(precision, (), (), *2 * (_sentence(reports[()]),))
        if not reaches(tries.layers) and not reports[tries.layers].passed:
            best = gate.explain_accuracy(reports[tries.layers])
            raise AccuracyError(f"{best}, with every layer in float: the goal is out of reach")
    with step(f"measure each of {len(tries.layers)} layers alone in {precision}"):
        few = replace(tries, data=EvaluationSet(tries.data.images.spread(LAYER_IMAGES)))
        ranking = rank(tries.layers, lambda keep: few.measure(keep).sqnr_db)
    with step("find the fewest layers to keep in float"):
        kept = fewest([one.module for one in ranking], reaches)
    if kept is None:
        raise ParityError(f"{gate.explain(proofs[tries.layers], plan.numbers.precision)}, whatever is kept in float")
    return MixedSearch(precision, ranking, kept, _sentence(reports[()]), _sentence(reports[kept]))


def _sentence(report: AccuracyReport) -> str:
    return accuracy.sentence(asdict(report))


@dataclass(frozen=True)
class _Tries:
    """What a try needs.

    Attributes:
        edit: modules to keep -> the reduced graph with these modules in float.
        data: what the goal is measured on.
        layers: that could be reduced.
    """

    plan: Plan
    prepared: Prepared
    edit: Callable[[Sequence[str]], OnnxGraph]
    data: EvaluationSet
    goal: AccuracyGoal
    layers: tuple[str, ...]

    def measure(self, keep: Sequence[str]) -> AccuracyReport:
        """What is lost with `keep` in float32."""
        with tempfile.TemporaryDirectory() as directory:
            return self._accuracy(self._open(keep, Path(directory))[0])

    def prove(self, keep: Sequence[str]) -> tuple[AccuracyReport, ParityReport]:
        """The accuracy and the parity report with `keep` in float32."""
        numbers = self.plan.numbers.keeping(keep)
        reference, served = self.prepared.with_floor(numbers), self.prepared.served
        with tempfile.TemporaryDirectory() as directory:
            session, look = self._open(keep, Path(directory))
            proof = parity.check(
                reference,
                session,
                served.io.batch,
                decision_axis=served.task.decision_axis,
                accepted=parity.accepted(numbers.precision, numbers.recipe),
                ordering=ordering(served, reference, numbers, look),
            )
            return self._accuracy(session), proof

    def _accuracy(self, session: Session) -> AccuracyReport:
        prepared = self.prepared
        return accuracy.evaluate(
            prepared.trained_scores(), prepared.served, session, self.data, self.goal, prepared.store
        )

    def _open(self, keep: Sequence[str], directory: Path) -> tuple[Session, Callable[[Sequence[str]], Session]]:
        """A session of the target's own artifact, or of the graph where it does not run here; and its inside."""
        backend, graph = registry.load(self.plan.target), self.edit(keep)
        if reason := optional.unavailable_reason(backend):
            path = directory / "model.onnx"
            path.write_bytes(graph.proto.SerializeToString(deterministic=True))
            session = on_graph(registry.load(GRAPHS).Session(path, LITERALLY), reason)
            return session, partial(open_orders, backend, path, path, {})
        artifact = backend.lower(graph, directory, lowering_options(self.plan, self.prepared))
        look = partial(open_orders, backend, artifact.path, artifact.graph, artifact.settings)
        return backend.Session(artifact.path, artifact.settings), look


def _tries(plan: Plan, prepared: Prepared, step: Progress) -> _Tries:
    goal = plan.source.accuracy or AccuracyGoal(prepared.images.root)
    data = prepared.evaluation or EvaluationSet(prepared.images.sample(GOAL_IMAGES, plan.calibration.seed))
    form = prepared.in_form(plan.source.form, plan.target)
    if not form.exported:
        with step("export to ONNX"):
            form.graph  # noqa: B018  # exported now
    found, recipe = layers(form.graph.proto), plan.numbers.recipe
    names = list(found) if recipe is None else selected(found, recipe)
    modules = tuple(dict.fromkeys(found[name][0] for name in names))
    return _Tries(plan, prepared, _editor(plan, prepared, form, step), data, goal, modules)


def _editor(plan: Plan, prepared: Prepared, form: ModelInForm, step: Progress) -> Callable[[Sequence[str]], OnnxGraph]:
    """Make `keep -> OnnxGraph`: the reduced graph with these modules left in float32."""
    full, numbers = form.graph, plan.numbers
    if numbers.recipe is None:
        return lambda keep: to_half(full, (*numbers.keep, *keep))
    with step(f"write {numbers.precision} into the graph"):
        reduced = reduce(plan, prepared, form, numbers).graph
    original = to_ir(full.proto)
    return lambda keep: keep_float(reduced, original, keep)
