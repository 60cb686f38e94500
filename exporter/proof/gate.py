"""What an artifact has to pass before it ships, on the day of its export and ever after."""

import math
from dataclasses import asdict

from slide_export.calibration.accuracy import AccuracyReport
from slide_export.core.artifact import DtypeStats
from slide_export.core.errors import AccuracyError, ParityError, PrecisionError, option
from slide_export.core.precision import Precision
from slide_export.core.proof import OrderParity, ParityReport

from .accuracy import sentence
from .precision import describe, satisfies


def judge(
    proof: ParityReport,
    stats: DtypeStats,
    precision: Precision,
    kept: str = "",
    accuracy: AccuracyReport | None = None,
    hint: str = "",
    *,
    some_kept: bool = False,
) -> None:
    """Refuse what must not ship: another precision first, because it explains a wrong result.

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
    # Precision first: an artifact in float32 passes the parity of fp16, and ships at twice the size.
    if not satisfies(stats, precision, some_kept=some_kept):
        raise PrecisionError(f"expected {precision}, found it not honoured: {describe(stats, precision)}{kept}")
    if not proof.passed:
        raise ParityError(explain(proof, precision) + kept + hint)
    if accuracy is not None and not accuracy.passed:
        raise AccuracyError(explain_accuracy(accuracy) + kept + hint)


def explain(proof: ParityReport, precision: Precision) -> str:
    """Why a proof failed, in one sentence."""
    # In the order in which one explains the next: no order, no floor, no equality, noise, flips.
    for order in proof.orders:
        if not order.passed:
            return _explain_order(order)
    for output in proof.outputs:
        if not math.isfinite(output.limit_max + output.limit_rms):
            return (
                f"expected a finite noise floor of {precision} in {output.name}, found {output.floor_max:g}: nothing "
                "can be told equal beside it; export again, in a wider precision where this one cannot hold the model"
            )
        if not output.passed:
            return (
                f"expected {output.name} within {output.limit_max:.2e} (rms {output.limit_rms:.2e}) of the PyTorch "
                f"model, found {output.max_abs:.2e} (rms {output.rms:.2e}), {output.sqnr_db:.0f} dB: "
                "the artifact is not the model"
            )
    if proof.rule is not None and proof.broken_rule:
        return (
            f"expected {proof.rule.name} that follow from the artifact's own scores and boxes, found "
            f"{proof.rule.faults} of {proof.rule.answers} that do not: the runtime chooses otherwise than the model"
        )
    for output in proof.noisy_outputs:
        return (
            f"expected a signal to quantization noise of {proof.accepted.min_sqnr_db:g} dB in {output.name}, found "
            f"{output.sqnr_db:.1f} dB: keep the layer to blame in float (keep_fp32), or take another precision"
        )
    for output in proof.drowned_outputs:
        return (
            f"expected {precision} to keep {output.name} {proof.accepted.least_db:g} dB above its own noise, found "
            f"{output.centred_db:.1f} dB: it cannot hold this model; take a wider precision, or keep the layer to "
            f"blame in float ({option('keep_fp32')})"
        )
    if not (proof.confident_flips or proof.sure_flips):
        return (
            f"expected {proof.accepted.min_top1:.0%} of the top classes as in PyTorch, found "
            f"{proof.images - len(proof.flips)} of {proof.images}: calibrate on more images, or take another precision"
        )
    # A confident flip says more than a sure one: it needs no opinion on what a precision may cost.
    flip = (*proof.confident_flips, *proof.sure_flips)[0]
    spread = "" if proof.spread is None else f", where the scores spread by {proof.spread:.2e}"
    return (
        f"expected class {flip.expected} for {flip.image}, found {flip.found} against a margin of {flip.margin:.2e}"
        f"{spread}: the artifact is not the model"
    )


def _explain_order(order: OrderParity) -> str:
    if order.strayed:
        return (
            f"expected permutations in {order.layer}, found {order.strayed} of {order.tokens} tokens in none: the "
            "artifact is not the model"
        )
    return (
        f"expected {order.layer} to sort by its keys up to {order.limit_max:.2e} (rms {order.limit_rms:.2e}), found "
        f"keys out of order by {order.disorder:.2e} (rms {order.displaced_rms:.2e}): the artifact is not the model"
    )


def explain_accuracy(report: AccuracyReport) -> str:
    """Which goal an artifact missed, in one sentence."""
    found = sentence(asdict(report))
    # Only one of the two goals can be the reason where the drop is within its own.
    if report.drop is None or report.max_drop is None or report.drop <= report.max_drop:
        return f"expected at least {report.min_sqnr_db:g} dB, found {found}"
    if report.measured is not None:
        return f"expected a drop of at most {report.max_drop:g} {report.measured.unit}, found {found}"
    if report.pytorch is not None:
        return f"expected a drop of at most {report.max_drop:g} points of top-1, found {found}"
    return f"expected at most {report.max_drop:g}% of the answers to change, found {report.drop:.2f}%: {found}"
