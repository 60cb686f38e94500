"""What an artifact has to pass before it ships, on the day of its export and ever after."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slide_export.backends import registry as backends
from slide_export.backends.interface import Backend, Session, Value
from slide_export.calibration.accuracy import AccuracyReport
from slide_export.core.artifact import DtypeStats
from slide_export.core.errors import AccuracyError, ParityError, PrecisionError
from slide_export.core.proof import ParityReport

from . import precision as truth
from .accuracy import sentence

LITERALLY = {"literal": True}  # settings of the onnx backend for a graph that another runtime was built from


@dataclass(frozen=True)
class ArtifactValues:
    """An artifact to look into.

    Attributes:
        values: that it computes, in the order of execution.
        open: returns a session that shows values by name.
    """

    values: tuple[Value, ...]
    open: Callable[[Sequence[str]], Session]


def open_session(backend: Backend, path: Path, graph: Path | None, settings: Mapping[str, Any]) -> Session:
    """Returns a session of the artifact or, where it cannot run, of the graph that it was built from."""
    obstacle = backend.obstacle()
    if obstacle is None or graph is None:
        return backend.Session(path, settings)
    return on_graph(backends.load("onnx").Session(graph, LITERALLY), obstacle)


def look_inside(backend: Backend, path: Path, graph: Path | None, settings: Mapping[str, Any]) -> ArtifactValues:
    """Returns the values of the artifact or, where it cannot run, of the graph that it was built from."""
    obstacle = backend.obstacle()
    if obstacle is None or graph is None:
        return ArtifactValues(
            backend.values(path, settings), lambda names: backend.intermediates(path, settings, names)
        )
    onnx = backends.load("onnx")
    return ArtifactValues(
        onnx.values(graph, LITERALLY), lambda names: on_graph(onnx.intermediates(graph, LITERALLY, names), obstacle)
    )


def on_graph(session: Session, obstacle: str) -> Session:
    """Returns the session of a graph after making it say that it stands for an artifact that has not run."""
    session.evaluator += f", on the artifact's own graph; the artifact has not run: {obstacle}"
    return session


def judge(
    proof: ParityReport,
    census: DtypeStats,
    precision: str,
    kept: str = "",
    accuracy: AccuracyReport | None = None,
    hint: str = "",
    *,
    some_kept: bool = False,
) -> None:
    """Refuses what must not ship: another precision first, because it explains a wrong result.

    Args:
        kept: where the refused artifact is, as the end of the sentence.
        accuracy: None where it was not measured.
        hint: what tells more of a wrong result, after that.
        some_kept: whether modules were to stay in float.

    Raises:
        PrecisionError: the artifact is not in the precision asked for.
        ParityError: the artifact is not the model.
        AccuracyError: it loses more accuracy than was allowed.
    """
    if not truth.satisfies(census, precision, some_kept=some_kept):
        raise PrecisionError(f"expected {precision}, found it not honoured: {truth.sentence(census, precision)}{kept}")
    if not proof.passed:
        raise ParityError(explain(proof) + kept + hint)
    if accuracy is not None and not accuracy.passed:
        raise AccuracyError(explain_accuracy(accuracy) + kept + hint)


def explain(proof: ParityReport) -> str:
    """Returns why a proof failed, in one sentence."""
    for output in proof.outputs:
        if not output.passed:
            return (
                f"expected {output.name} within {output.limit_max:.2e} (rms {output.limit_rms:.2e}) of the PyTorch "
                f"model, found {output.max_abs:.2e} (rms {output.rms:.2e}), {output.sqnr_db:.0f} dB: "
                "the artifact is not the model"
            )
    for output in proof.noisy_outputs:
        return (
            f"expected a signal to quantization noise of {proof.accepted.min_sqnr_db:g} dB in {output.name}, found "
            f"{output.sqnr_db:.1f} dB: keep the layer to blame in float (keep_fp32), or take another precision"
        )
    if not proof.confident_flips:
        return (
            f"expected {proof.accepted.min_top1:.0%} of the top classes as in PyTorch, found "
            f"{proof.images - len(proof.flips)} of {proof.images}: calibrate on more images, or take another precision"
        )
    flip = proof.confident_flips[0]
    return f"expected class {flip.expected} for {flip.image}, found {flip.found} against a margin of {flip.margin:.2e}"


def explain_accuracy(report: AccuracyReport) -> str:
    """Returns which goal an artifact missed, in one sentence."""
    found = sentence(asdict(report))
    if report.drop is None or report.max_drop is None or report.drop <= report.max_drop:
        return f"expected at least {report.min_sqnr_db:g} dB, found {found}"
    if report.pytorch is not None:
        return f"expected a drop of at most {report.max_drop:g} points of top-1, found {found}"
    return f"expected at most {report.max_drop:g}% of the answers to change, found {report.drop:.2f}%: {found}"
