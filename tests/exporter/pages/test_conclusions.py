"""What follows from a result follows from its own verdicts, and from nothing else."""

from dataclasses import replace

import pytest

from slide_export.core.measurement import BenchmarkResult, Verdict
from slide_export.pages import conclusions as advice
from tests.exporter.pages.synthetic import compared, parity, result, run, sitting, subject

FP32 = run(subject("m", variant="m", accuracy={"artifact": {"top1": 0.91}}), 60.0, 1)
FP16 = run(
    subject("m", variant="m", precision="fp16", artifact_bytes=57_000_000, accuracy={"artifact": {"top1": 0.90}}),
    50.0,
    2,
)


def pair(verdict: Verdict, ratio: float = 0.83) -> BenchmarkResult:
    return result((FP32, FP16), (compared(1, 0, ratio, verdict),))


def test_the_fastest_is_named_with_its_numbers_and_with_what_may_be_as_fast() -> None:
    fastest = advice.decisions(sitting())[0]
    run_of = sitting().runs[0]
    assert fastest.lead == "Fastest"
    assert (
        f"swin_tiny fp32 under OpenVINO, {run_of.p50_ms.value:.1f} ms (p99 {run_of.p99_ms.value:.1f})" in fastest.text
    )
    assert fastest.text.endswith("too close to tell: slide_swin_tiny fp16 under OpenVINO.")


def test_a_run_is_told_beside_the_first_with_ratio_and_verdict() -> None:
    slide = advice.decisions(sitting())[1]
    assert slide.lead == "slide_swin_tiny fp32 under OpenVINO"
    assert slide.text.endswith("1.05 times swin_tiny fp32, slower.")
    assert slide.tone == "bad"


def test_without_a_comparison_no_ratio_is_made_up() -> None:
    said = " ".join(sentence.text for sentence in advice.decisions(result((FP32, FP16))))
    assert "not compared with m fp32" in said
    assert "times" not in said


def test_many_runs_leave_the_first_screen_readable() -> None:
    runs = tuple(run(subject(f"m{n}"), 10.0 + n, n) for n in range(12))
    assert advice.decisions(result(runs))[-1].text == "5 more runs below."


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("faster", "take m fp16: 0.83 [0.82, 0.84] times m fp32, so faster."),
        ("same", "the speed decides nothing (0.83 [0.82, 0.84] times m fp32): take m fp16, the smallest (54.4 MiB)."),
        ("cannot tell", "no clear winner: m fp16 has the smallest median"),
    ],
)
def test_a_precision_is_recommended_by_the_verdict(verdict: Verdict, said: str) -> None:
    (sentence,) = advice.recommendations(pair(verdict))
    assert sentence.text.startswith(said)


def test_an_artifact_that_failed_its_proof_is_never_recommended() -> None:
    failed = replace(FP16, subject=replace(FP16.subject, parity=parity(1.0, passed=False)))
    (sentence,) = advice.recommendations(result((FP32, failed), (compared(1, 0, 0.83, "faster"),)))
    assert sentence.text.startswith("m fp32, the only one left. Left out is m fp16: it failed its proof")
    assert any("failed its proof" in doubt.text for doubt in advice.doubts(result((failed,))))


def test_an_artifact_that_loses_too_much_is_never_recommended() -> None:
    known = {"passed": False, "sentence": "a drop of 3.00 points"}
    lossy = replace(FP16, subject=replace(FP16.subject, accuracy=known))
    (sentence,) = advice.recommendations(result((FP32, lossy), (compared(1, 0, 0.83, "faster"),)))
    assert sentence.text.endswith("Left out is m fp16: it loses too much: a drop of 3.00 points.")


def test_what_was_not_measured_is_said() -> None:
    bare = replace(FP16, subject=replace(FP16.subject, parity=None, accuracy=None))
    (sentence,) = advice.recommendations(result((FP32, bare), (compared(1, 0, 0.83, "faster"),)))
    assert sentence.text.endswith("Without a proof: m fp16. Accuracy not measured: m fp16.")


def test_one_precision_needs_no_recommendation() -> None:
    assert advice.recommendations(result((FP32, run(subject("other"), 5.0)))) == ()


def test_every_doubt_is_told() -> None:
    said = " ".join(f"{doubt.lead} {doubt.text}" for doubt in advice.doubts(sitting()))
    assert "The load average was 1.20" in said
    assert "im2col_swin_tiny fp32 under OpenVINO its time was not stable after 12 calls" in said
    assert "Random weights im2col_swin_tiny" in said
    stand_in = replace(FP32, stand_in="an evaluator of ours")
    assert [doubt.text for doubt in advice.doubts(result((stand_in,)))] == ["an evaluator of ours."]
