"""The choice is a function of measured numbers: each case is a table of times, sizes and accuracies."""

from dataclasses import replace
from pathlib import Path

import pytest

from slide_export.benchmark import recommend as recommendation
from slide_export.benchmark.recommend import recommend, slow_because
from slide_export.bundle import report
from slide_export.bundle.records import PRECISIONS, CheckpointRecord, DtypeRecord, ParityRecord
from slide_export.core import typed_json
from slide_export.core.artifact import DtypeStats
from slide_export.core.errors import ParityError, RequestError
from slide_export.core.measurement import (
    ArtifactInfo,
    ArtifactTiming,
    BenchmarkResult,
    BenchProtocol,
    Comparison,
    Environment,
    Interval,
    Verdict,
)
from slide_export.core.precision import FP16
from slide_export.core.proof import ParityReport
from slide_export.pages import tables
from slide_export.pages.figures import parity as parity_figure
from slide_export.proof import gate
from slide_export.proof.parity import accepted
from tests.bundles import OUTPUT, minimal

NEW, OLD = ("avx2", "avx512_vnni"), ("avx2", "fma")
NONE = Interval(0, 0, 0)


def run(
    precision: str,
    ms: float,
    size: int,
    drop: float | None = None,
    batch: int = 1,
    name: str = "m",
    proved: bool = True,
) -> ArtifactTiming:
    known = {"drop": drop, "passed": (drop or 0) <= 1, "sentence": f"a drop of {drop}", "pytorch": {"top1": 0.9}}
    subject = ArtifactInfo(
        name,
        "onnx",
        precision,
        "f",
        "v",
        (64, 64),
        artifact_bytes=size,
        parity={"passed": proved},
        accuracy=None if drop is None else known,
    )
    found = Interval(ms, ms, ms)
    return ArtifactTiming(
        subject=subject,
        evaluator="a runtime",
        batch=batch,
        settings={},
        rounds_ms=((ms,),),
        warmup_calls=4,
        stable=True,
        import_ms=1.0,
        load_ms=1.0,
        first_ms=1.0,
        peak_mib=1.0,
        p50_ms=found,
        p90_ms=found,
        p99_ms=found,
        images_per_s=1000 / ms,
    )


def result(
    *runs: ArtifactTiming, flags: tuple[str, ...] = OLD, doubtful: tuple[tuple[int, int], ...] = ()
) -> BenchmarkResult:
    machine = Environment("this machine", "a CPU", flags, 2, 1, "", "Linux", "3.11", {}, 0.0)
    comparisons = []
    for a, later in enumerate(runs):
        for b, earlier in enumerate(runs[:a]):
            ratio = later.p50_ms.value / earlier.p50_ms.value
            said: Verdict = "faster" if ratio < 0.98 else "slower" if ratio > 1.02 else "same"
            said = "cannot tell" if (b, a) in doubtful else said
            comparisons.append(Comparison(a, b, Interval(ratio, ratio, ratio), said))
    return BenchmarkResult("now", machine, BenchProtocol(20, 5, 2, (0, 1)), runs, tuple(comparisons))


@pytest.mark.parametrize(
    ("flags", "measured", "said"),
    [(("amx_bf16",), ("fp32",), True), (OLD, ("fp32",), False), (("amx_bf16",), ("fp32", "bf16"), False)],
)
def test_a_precision_that_the_processor_computes_fast_is_offered(
    flags: tuple[str, ...], measured: tuple[str, ...], said: bool
) -> None:
    runs = [run(precision, 10, 100) for precision in (*measured, "w8")]
    runs = [replace(one, subject=replace(one.subject, target="openvino")) for one in runs]
    found = recommend(result(*runs, flags=flags)).unmeasured
    offer = "openvino bf16 was not measured: this processor computes it fast (AMX), export it too"
    assert found == ((offer,) if said else ())


def test_a_slow_int8_is_kept_for_size_alone_and_the_cpu_says_why() -> None:
    found = recommend(result(run("fp32", 10, 100, 0.0), run("int8", 13, 26, 0.2)))
    assert found.sentence == "keep onnx fp32; or ship onnx int8 for size (0.26 of it, 0.20 points of top-1 lost)"
    assert found.reasons == (
        "onnx int8 is 1.3 times slower here, perhaps because this CPU has no VNNI, or the like, for 8-bit products",
    )


def test_a_fast_int8_within_its_goal_ships() -> None:
    found = recommend(result(run("fp32", 10, 100, 0.0), run("int8", 5, 26, 0.2), flags=NEW))
    assert found.options[found.chosen].precision == "int8"
    assert found.sentence == "ship onnx int8: it is 2.0 times faster here, 0.26 of the size, 0.20 points of top-1 lost"


def test_a_fast_one_beyond_its_goal_does_not() -> None:
    found = recommend(result(run("fp32", 10, 100, 0.0), run("int8", 5, 26, 3.0), flags=NEW))
    assert found.options[found.chosen].precision == "fp32"
    assert "loses too much: a drop of 3.0" in found.reasons[0]
    assert "for size" not in found.sentence


def test_an_artifact_that_failed_its_proof_never_ships() -> None:
    found = recommend(
        result(run("fp32", 10, 100), run("fp16", 9, 51), run("int8", 1, 26, 0.0, proved=False), flags=NEW)
    )
    assert found.options[found.chosen].precision == "fp16"
    assert found.reasons[-1] == "onnx int8 is out: it failed its proof: it is not the trained model"


def test_gate_report_recommendation_and_page_read_one_verdict() -> None:
    """A noise floor as large as the signal: every error is within its limit, and the own bound is missed."""
    drowned = replace(OUTPUT, centred_db=-2.5, limit_max=50.0, limit_rms=50.0)
    proof = ParityReport("a test", "photos", 2, (1, 2), (drowned,), 0.2, (), accepted(FP16))
    with pytest.raises(ParityError, match=r"expected fp16 to keep logits 35 dB above its own noise, found -2\.5 dB"):
        gate.judge(proof, DtypeStats({"float16": 9}, {"float16": 1}), FP16)
    manifest = minimal(parity=ParityRecord(**vars(proof), multiple=8.0, passed=proof.passed))
    assert "REJECTED: not equal" in report.markdown(manifest)
    one = run("fp16", 9, 51)
    one = replace(one, subject=replace(one.subject, parity=typed_json.finite(typed_json.plain(manifest.parity))))
    assert recommendation.unfit(one.subject) == "it failed its proof: it is not the trained model"
    assert "FAILED" in tables.parity([one]).rows[0]
    assert "mark bad" in parity_figure.draw([one])


def test_a_disproved_baseline_gives_way_to_the_next() -> None:
    found = recommend(result(run("fp32", 1, 100, proved=False), run("fp16", 10, 50), run("int8", 20, 26)))
    assert found.options[0].precision == "fp16"
    assert found.sentence.startswith("keep onnx fp16")


def test_of_equally_fast_ones_the_smallest_ships() -> None:
    found = recommend(result(run("fp32", 10, 100, 0.0), run("w8", 10.1, 27, 0.1)))
    assert found.options[found.chosen].precision == "w8"
    assert "it is as fast here, 0.27 of the size" in found.sentence


def test_what_nobody_can_tell_does_not_decide_against_the_baseline() -> None:
    found = recommend(result(run("fp32", 10, 100), run("w8", 9, 27), doubtful=((0, 1),)))
    assert found.sentence == "keep onnx fp32; or ship onnx w8 for size (0.27 of it, accuracy not measured)"
    assert found.reasons == (
        "onnx w8: whether it is faster cannot be told, it takes 0.90 to 0.90 times the time of onnx fp32",
    )


def test_what_is_lost_is_said_in_its_own_unit() -> None:
    fast = run("int8", 5, 26, 0.2)
    known = {**fast.subject.accuracy, "pytorch": None}  # type: ignore[dict-item]
    without_classes = replace(fast, subject=replace(fast.subject, accuracy=known))
    found = recommend(result(run("fp32", 10, 100), without_classes, flags=NEW))
    assert found.sentence.endswith("0.26 of the size, 0.20 % of the answers changed")
    found = recommend(result(run("fp32", 10, 100), run("int8", 5, 26), flags=NEW))
    assert found.sentence.endswith("0.26 of the size, accuracy not measured")


def test_two_of_one_precision_have_names_of_their_own() -> None:
    runs = run("fp32", 10, 100), run("int8", 5, 26), run("int8", 6, 30, name="m-mixed")
    found = recommend(result(*runs, flags=NEW))
    assert [option.name for option in found.options] == ["onnx fp32", "m onnx int8", "m-mixed onnx int8"]


@pytest.mark.parametrize(("size", "chosen"), [(95, "fp32"), (90, "fp32"), (89, "fp16")])
def test_a_tenth_of_the_size_is_no_reason_to_give_up_precision(size: int, chosen: str) -> None:
    found = recommend(result(run("fp32", 10, 100), run("fp16", 10, size)))
    assert found.options[found.chosen].precision == chosen


@pytest.mark.parametrize(
    ("fast", "small", "offered"), [(100, 90, False), (100, 89, True), (50, 45, False), (50, 44, True)]
)
def test_a_slower_one_is_offered_for_a_tenth_of_the_size(fast: int, small: int, offered: bool) -> None:
    runs = run("fp32", 10, 100), run("fp16", 5, fast), run("int8", 13, small)
    sentence = recommend(result(*runs)).sentence
    assert ("; or ship onnx int8 for size" in sentence) is offered


def test_sizes_are_over_that_of_the_most_precise() -> None:
    found = recommend(result(run("int8", 5, 30), run("fp32", 10, 1)))
    assert [option.size for option in found.options] == [1.0, 30.0]


@pytest.mark.parametrize(("ms", "told"), [(10.5, "1.05 times"), (11, "1.1 times"), (12, "1.2 times")])
def test_a_factor_has_two_digits_behind_its_one_where_it_is_small(ms: float, told: str) -> None:
    found = recommend(result(run("fp32", 10, 100), run("fp16", ms, 50)))
    assert found.reasons[0].startswith(f"onnx fp16 is {told} slower here")


def test_of_two_faster_ones_the_other_is_not_the_best() -> None:
    found = recommend(result(run("fp32", 10, 100), run("fp16", 8, 50), run("int8", 5, 26), flags=NEW))
    assert found.reasons == ("onnx fp16 is 1.2 times faster than onnx fp32, and not the best of them",)


def test_of_faster_ones_the_fastest_ships_though_another_is_smaller() -> None:
    found = recommend(result(run("fp32", 10, 100), run("fp16", 5, 50), run("int8", 9, 26), flags=NEW))
    assert found.sentence.startswith("ship onnx fp16: it is 2.0 times faster here, 0.50 of the size")
    assert found.sentence.endswith("; or ship onnx int8 for size (0.52 of it, accuracy not measured)")


def test_artifacts_that_were_not_measured_beside_each_other_are_refused() -> None:
    apart = replace(result(run("fp32", 10, 100), run("fp16", 5, 50)), comparisons=())
    with pytest.raises(RequestError, match="expected artifacts that were measured beside each other, found two"):
        recommend(apart)


def test_an_artifact_without_a_proof_is_fit_to_ship() -> None:
    one = run("fp32", 10, 100)
    unproved = replace(one, subject=replace(one.subject, parity=None))
    assert not recommendation.disproved(unproved.subject)
    assert recommend(result(unproved, run("int8", 13, 95))).sentence == "keep onnx fp32"


@pytest.mark.parametrize(
    ("decibels", "passed", "told"),
    [
        (42.4, True, "42 dB beside PyTorch"),
        (float("inf"), True, "as PyTorch"),
        (None, True, "as PyTorch"),
        (None, False, "no numbers beside PyTorch's"),
    ],
)
def test_what_outputs_without_classes_lose_is_told_in_decibels(decibels: float | None, passed: bool, told: str) -> None:
    accuracy = {"drop": None, "sqnr_db": decibels, "passed": passed, "sentence": "what was lost"}
    one = run("fp16", 5, 50)
    option = replace(one, subject=replace(one.subject, accuracy=accuracy))
    found = recommend(result(run("fp32", 10, 100), option))
    assert found.options[1].lost == told


def test_the_order_of_the_bundles_does_not_matter() -> None:
    one, other = run("fp32", 10, 100, 0.0), run("int8", 13, 26, 0.2)
    assert recommend(result(other, one)).reasons == recommend(result(one, other)).reasons


def test_of_four_the_fastest_wins_and_each_other_has_its_reason() -> None:
    runs = run("fp32", 10, 100), run("fp16", 30, 50), run("int8", 8, 27), run("w8", 12, 27)
    found = recommend(result(*runs, flags=NEW))
    assert found.sentence == "ship onnx int8: it is 1.2 times faster here, 0.27 of the size, accuracy not measured"
    assert found.reasons == (
        "onnx fp16 is 3.0 times slower here, perhaps because this CPU computes no float16",
        "onnx w8 is 1.2 times slower here, perhaps because its weights are turned into floats before each use",
    )


def test_only_the_first_batch_size_decides() -> None:
    runs = run("fp32", 10, 100), run("int8", 13, 26), run("fp32", 10, 100, batch=8), run("int8", 1, 26, batch=8)
    found = recommend(result(*runs))
    assert len(found.options) == 2
    assert found.options[found.chosen].precision == "fp32"


@pytest.mark.parametrize(
    ("precision", "flags", "word"),
    [
        ("int8", ("avx2",), "no VNNI"),
        ("int8", ("asimddp",), "too little"),
        ("fp16", ("avx2", "f16c"), "no float16"),
        ("fp16", ("fphp",), ""),
        ("bf16", ("avx512_vnni",), "no bfloat16"),
        ("bf16", ("amx_bf16",), ""),
        ("fp32", ("avx2",), ""),
    ],
)
def test_reasons_come_from_the_flags(precision: str, flags: tuple[str, ...], word: str) -> None:
    found = slow_because(precision, flags)
    assert word in found
    assert bool(found) is bool(word)


def test_one_artifact_or_none_within_its_goal_is_no_choice() -> None:
    with pytest.raises(RequestError, match="at least two artifacts"):
        recommend(result(run("fp32", 10, 100)))
    with pytest.raises(RequestError, match="fit to ship, found none: it loses too much"):
        recommend(result(run("fp16", 10, 100, 2.0), run("int8", 10, 100, 2.0)))


def test_bundles_of_two_checkpoints_are_refused() -> None:
    made = {
        Path(name): minimal(checkpoint=CheckpointRecord("n.pth", sha, "raw"))
        for name, sha in (("a", "1"), ("b", "1"), ("c", "2"))
    }
    with pytest.raises(RequestError, match="found c made from another than a"):
        recommendation.of_one_checkpoint(made)


def test_a_bundle_in_another_precision_than_it_claims_is_refused() -> None:
    stats = DtypeRecord({"float32": 100}, {"float32": 9}, "")
    made = {Path("a"): minimal(precision=PRECISIONS["int8"], dtype_stats=stats)}
    with pytest.raises(RequestError, match=r"found a not so \(asked int8: 0% of weight bytes"):
        recommendation.in_their_precision(made)
