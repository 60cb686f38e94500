"""What an artifact has to pass before it ships, on the day of its export and ever after."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import backends, truth
from .backends import Backend, Session
from .errors import ParityError, PrecisionError
from .types import Census, ParityReport


def open_session(backend: Backend, path: Path, graph: Path | None, settings: Mapping[str, Any]) -> Session:
    """Returns a session of the artifact or, where it cannot run, of the graph that it was built from."""
    obstacle = backend.obstacle()
    if obstacle is None or graph is None:
        return backend.Session(path, settings)
    session = backends.load("onnx").Session(graph, {"literal": True})
    session.evaluator += f", on the artifact's own graph; the artifact has not run: {obstacle}"
    return session


def judge(proof: ParityReport, census: Census, precision: str, kept: str = "") -> None:
    """Refuses what must not ship: another precision first, because it explains a wrong result.

    Args:
        kept: where the refused artifact is, as the end of the sentence.

    Raises:
        PrecisionError: the artifact is not in the precision asked for.
        ParityError: the artifact is not the model.
    """
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
