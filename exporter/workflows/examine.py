"""Plan, Prepared, Artifact -> Examination: what the artifact stores, whether it is the model, and what it loses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from slide_export.backends import optional, registry
from slide_export.backends.interface import Session
from slide_export.bundle.store import GOLDEN_IMAGES
from slide_export.calibration.accuracy import AccuracyReport
from slide_export.core.artifact import Artifact, DtypeStats
from slide_export.core.float_build import FloatBuild
from slide_export.core.plain_load import PlainLoad
from slide_export.core.progress import Progress
from slide_export.core.proof import ParityReport, Reference
from slide_export.proof import accuracy, parity, plain_load
from slide_export.proof.ordering import ordering
from slide_export.proof.orders_inside import open_orders
from slide_export.proof.reference import subset
from slide_export.proof.session import open_session

from . import evaluate_apart, float_build
from .prepare import ModelInForm, Prepared
from .resolve import Plan


@dataclass(frozen=True)
class Examination:
    """What was found of an artifact; nothing is judged yet.

    Attributes:
        float_build: proof of the float32 build of its graph, and its stored values against that; None for float32.
        golden: what is repeated without the trained model: the first images, of a model that sorts under the artifact's
            own orders.
        plain_load: what a load without settings computes; None where nobody knows.
        accuracy: None where none was asked for.
    """

    dtype_stats: DtypeStats
    proof: ParityReport
    golden: Reference
    float_build: FloatBuild | None
    plain_load: PlainLoad | None
    accuracy: AccuracyReport | None


def examine(
    plan: Plan, prepared: Prepared, form: ModelInForm, artifact: Artifact, step: Progress, jobs: int = 1
) -> Examination:
    """Open an artifact on its target's runtime and hold it to the trained model.

    Args:
        jobs: processes that its accuracy may be measured by.
    """
    backend = registry.load(plan.target)
    with step("count what it stores and computes"):
        dtype_stats = optional.dtype_stats(backend, artifact.path, artifact.settings)
    proof, golden, lost = _against_the_model(plan, prepared, artifact, step, jobs)
    with step("hold it against its float32 build"):
        build = float_build.prove(plan, prepared, form, artifact)
    with step("look at a load without settings"):
        plain = _plain_load(plan, prepared, artifact, dtype_stats.computed, proof)
    return Examination(dtype_stats, proof, golden, build, plain, lost)


def _against_the_model(
    plan: Plan, prepared: Prepared, artifact: Artifact, step: Progress, jobs: int
) -> tuple[ParityReport, Reference, AccuracyReport | None]:
    """All that one session of the artifact is for: it holds memory for a batch of 8 until it is let go, here."""
    backend, numbers = registry.load(plan.target), plan.numbers
    served, reference = prepared.served, prepared.reference(numbers)
    batch, axis = served.io.batch, served.task.decision_axis
    with step("check parity"):
        session = open_session(backend, artifact.path, artifact.graph, artifact.settings)
        accepted = parity.accepted(numbers.precision, numbers.recipe)
        inside = partial(open_orders, backend, artifact.path, artifact.graph, artifact.settings)
        ordered = ordering(served, reference, numbers, inside)
        proof = parity.check(reference, session, batch, decision_axis=axis, accepted=accepted, ordering=ordered)
        golden = subset(reference, GOLDEN_IMAGES) if ordered is None else ordered.golden(GOLDEN_IMAGES, batch)
    return proof, golden, _accuracy(plan, prepared, artifact, session, step, jobs)


def _plain_load(
    plan: Plan, prepared: Prepared, artifact: Artifact, computed: Mapping[str, int], proof: ParityReport
) -> PlainLoad | None:
    backend, numbers, served = registry.load(plan.target), plan.numbers, prepared.served
    loaded = plain_load.load(backend, artifact.path, artifact.settings, computed)
    if loaded is None:
        return None
    reference = prepared.reference(numbers)
    sorts = partial(ordering, served, reference, numbers)
    return plain_load.measure(loaded, reference, served.io.batch, proof, served.task.decision_axis, sorts)


def _accuracy(
    plan: Plan, prepared: Prepared, artifact: Artifact, session: Session, step: Progress, jobs: int
) -> AccuracyReport | None:
    """What the artifact loses to the trained model; None where nothing is asked."""
    goal, judged_on = plan.source.accuracy, prepared.evaluation
    if goal is None or judged_on is None:
        return None
    jobs = evaluate_apart.processes(judged_on, jobs)
    by = "" if jobs == 1 else f" in {jobs} processes"
    with step(f"compare accuracy with PyTorch on {len(judged_on.images.files)} images{by}"):
        if jobs > 1:
            return evaluate_apart.of_export(prepared, artifact, goal, jobs)
        return accuracy.evaluate(prepared.trained_scores(), prepared.served, session, judged_on, goal, prepared.store)
