"""The gate says what failed, precision before parity, and where the artifact is kept."""

from contextlib import nullcontext
from dataclasses import replace

import pytest

from slide_export.calibration.accuracy import AccuracyReport, Hits
from slide_export.core.artifact import DtypeStats
from slide_export.core.errors import AccuracyError, ParityError, PrecisionError
from slide_export.core.precision import FP16, FP32, INT8
from slide_export.core.proof import Acceptance, Flip, OutputParity, ParityReport, RuleParity
from slide_export.proof.gate import explain_accuracy, judge

FINE = OutputParity("logits", 1e-6, 1e-7, 2e-7, 5e-7, 1e-7, 4e-6, 8e-7, 130.0, 1.0)
PROOF = ParityReport("a runtime", "photos", 8, (1, 2), (FINE,), 1.0, (), Acceptance(8))
SINGLE = DtypeStats({"float32": 100}, {"float32": 5})


def test_what_is_right_passes() -> None:
    judge(PROOF, SINGLE, FP32)


def test_precision_comes_first() -> None:
    wrong = replace(PROOF, outputs=(replace(FINE, max_abs=1.0),))
    with pytest.raises(PrecisionError, match="asked fp16: 0% of weight bytes are float16"):
        judge(wrong, SINGLE, FP16)


@pytest.mark.parametrize("change", [{"max_abs": 5e-6}, {"rms": 9e-7}, {"max_abs": float("nan")}])
def test_either_error_over_its_limit_fails(change: dict[str, float]) -> None:
    with pytest.raises(ParityError, match=r"expected logits within 4\.00e-06 .* kept there"):
        judge(replace(PROOF, outputs=(replace(FINE, **change),)), SINGLE, FP32, "; kept there")


def test_a_confident_flip_fails_and_one_within_rounding_does_not() -> None:
    near, far = Flip("a.jpg", 3, 5, 1e-6), Flip("b.jpg", 3, 5, 0.1)
    judge(replace(PROOF, flips=(near,)), SINGLE, FP32)
    with pytest.raises(ParityError, match=r"expected class 3 for b\.jpg, found 5"):
        judge(replace(PROOF, flips=(near, far)), SINGLE, FP32)


@pytest.mark.parametrize("faults", [0, 1])
def test_an_output_that_does_not_follow_from_the_others_fails(faults: int) -> None:
    proof = replace(PROOF, rule=RuleParity("detections", 40, faults, 38, 37))
    refused = pytest.raises(ParityError, match=r"expected detections that follow .* found 1 of 40 that do not")
    with refused if faults else nullcontext():
        judge(proof, SINGLE, FP32)


QUANTIZED = replace(
    PROOF, outputs=(replace(FINE, limit_max=1.0, limit_rms=1.0, sqnr_db=24.0),), accepted=Acceptance(4, 20.0, 0.9)
)


def flips(count: int) -> tuple[Flip, ...]:
    return tuple(Flip(f"{index}.jpg", 3, 5, 0.1) for index in range(count))


@pytest.mark.parametrize("sqnr_db", [19.9, float("nan")])
def test_too_much_quantization_noise_fails(sqnr_db: float) -> None:
    judge(QUANTIZED, DtypeStats({"int8": 9}, {"int8": 5}, marked=5), INT8)
    noisy = replace(QUANTIZED, outputs=(replace(QUANTIZED.outputs[0], sqnr_db=sqnr_db),))
    with pytest.raises(ParityError, match="expected a signal to quantization noise of 20 dB in logits"):
        judge(noisy, DtypeStats({"int8": 9}, {"int8": 5}, marked=5), INT8)


@pytest.mark.parametrize(
    ("images", "wrong", "refused"),
    [(8, 3, False), (8, 4, True), (100, 18, False), (100, 19, True)],  # scipy.stats.binom.cdf(n, images, 0.9) < 0.01
)
def test_agreement_is_refused_where_the_share_is_ruled_out(images: int, wrong: int, refused: bool) -> None:
    proof = replace(QUANTIZED, images=images, top1=1 - wrong / images, flips=flips(wrong))
    assert proof.too_many_flips is refused
    if refused:
        with pytest.raises(ParityError, match=f"expected 90% of the top classes .* found {images - wrong} of {images}"):
            judge(proof, DtypeStats({"int8": 9}, {"int8": 5}, marked=5), INT8)


OWN = Acceptance(8, least_db=35.0, sure_margin=1.0)


@pytest.mark.parametrize("centred_db", [34.9, float("nan"), float("-inf")])
def test_a_floor_as_large_as_the_signal_passes_nothing(centred_db: float) -> None:
    wide = replace(FINE, limit_max=100.0, limit_rms=100.0)
    fine = replace(PROOF, outputs=(replace(wide, centred_db=35.0),), accepted=OWN)
    judge(fine, SINGLE, FP32)
    drowned = replace(fine, outputs=(replace(wide, centred_db=centred_db),))
    with pytest.raises(ParityError, match="expected fp32 to keep logits 35 dB above its own noise"):
        judge(drowned, SINGLE, FP32)


def test_a_decision_that_the_model_is_sure_of_may_not_flip_whatever_the_floor() -> None:
    wide = replace(FINE, limit_max=100.0, limit_rms=100.0, centred_db=40.0)
    proof = replace(PROOF, outputs=(wide,), accepted=OWN, spread=2.0, flips=(Flip("a.jpg", 3, 5, 1.9),))
    judge(proof, SINGLE, FP32)
    with pytest.raises(ParityError, match=r"margin of 2\.10e\+00, where the scores spread by 2\.00e\+00"):
        judge(replace(proof, flips=(Flip("a.jpg", 3, 5, 2.1),)), SINGLE, FP32)


@pytest.mark.parametrize("limit", ["limit_max", "limit_rms"])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_nothing_is_within_a_limit_that_is_not_finite(limit: str, value: float) -> None:
    proof = replace(PROOF, outputs=(replace(FINE, **{limit: value, "floor_max": value}),))
    with pytest.raises(ParityError, match=r"expected a finite noise floor of fp16 in logits, found (inf|nan)"):
        judge(proof, DtypeStats({"float16": 100}, {"float16": 5}), FP16)


def test_a_refusal_ends_where_nothing_more_is_told() -> None:
    wrong = replace(PROOF, outputs=(replace(FINE, max_abs=1.0),))
    with pytest.raises(ParityError, match=r"the artifact is not the model$"):
        judge(wrong, SINGLE, FP32)
    with pytest.raises(ParityError, match=r"the artifact is not the model; kept there; look here$"):
        judge(wrong, SINGLE, FP32, "; kept there", hint="; look here")


def test_half_the_weights_are_enough_only_where_modules_were_kept() -> None:
    mixed = DtypeStats({"float16": 60, "float32": 40}, {"float16": 60, "float32": 40})
    judge(PROOF, mixed, FP16, some_kept=True)
    with pytest.raises(PrecisionError):
        judge(PROOF, mixed, FP16)


LABELLED = AccuracyReport(
    "a runtime", "a folder", "0" * 64, 100, Hits(0.9, 0.99), Hits(0.88, 0.99), 3, 1, 0.6, 2.0, (0.0, 4.0), 0.96, 40.0,
    max_drop=1.0, min_sqnr_db=None, skipped=0,
)  # fmt: skip
UNLABELLED = replace(LABELLED, pytorch=None, artifact=None, p_value=None, interval=None, agreement=0.98)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (LABELLED, "expected a drop of at most 1 points of top-1, found top-1 88.00%"),
        (UNLABELLED, "expected at most 1% of the answers to change, found 2.00%"),
        (replace(UNLABELLED, drop=1.0, min_sqnr_db=50.0), "expected at least 50 dB, found"),  # the drop is allowed
        (replace(UNLABELLED, drop=None, min_sqnr_db=50.0), "expected at least 50 dB, found"),
        (replace(UNLABELLED, max_drop=None, min_sqnr_db=50.0), "expected at least 50 dB, found"),
    ],
)
def test_a_missed_goal_is_named(report: AccuracyReport, words: str) -> None:
    assert explain_accuracy(report).startswith(words)
    with pytest.raises(AccuracyError, match=words):
        judge(PROOF, SINGLE, FP32, accuracy=report)
    judge(PROOF, SINGLE, FP32, accuracy=replace(report, max_drop=3.0, min_sqnr_db=30.0))
