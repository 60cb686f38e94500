"""What is derived from rounds, against numbers worked out by hand."""

import math
from dataclasses import replace

import pytest

from slide_export.benchmark import derive
from slide_export.core.measurement import ArtifactInfo, ArtifactTiming, Protocol

ROUNDS = tuple((float(time), time + 1.0) for time in range(1, 11))  # 1, 2, 2, 3, 3, … 10, 10, 11
LEVEL = 0.95


def run(rounds_ms: tuple[tuple[float, ...], ...], batch: int = 1, stand_in: str = "") -> ArtifactTiming:
    derived = derive.of_rounds(rounds_ms, batch, LEVEL)
    subject = ArtifactInfo("a", "onnx", "fp32", "swin", "swin_tiny", (224, 224))
    plain = ArtifactTiming(
        subject=subject, evaluator="it", batch=batch, rounds_ms=rounds_ms, warmup_calls=1, stable=True, load_ms=1.0,
        first_ms=1.0, **vars(derived),
    )  # fmt: skip
    return replace(plain, stand_in=stand_in)


def test_percentiles_and_throughput_are_those_of_all_calls() -> None:
    found = derive.of_rounds(ROUNDS, 4, LEVEL)
    assert found.p50_ms.value == 6.0  # 20 calls: between the tenth, 6, and the eleventh, 6
    assert found.p90_ms.value == pytest.approx(10.0)  # at place 17.1: between 10 and 10
    assert found.images_per_s == pytest.approx(4000 / 6)


def test_runs_of_one_batch_and_one_kind_are_compared() -> None:
    slow = tuple(tuple(2 * call for call in calls) for calls in ROUNDS)
    runs = (run(ROUNDS), run(slow), run(slow, batch=2), run(ROUNDS, stand_in="an evaluator"))
    (found,) = derive.comparisons(runs, Protocol(10, 2))
    assert (found.a, found.b, found.ratio.value, found.verdict) == (1, 0, 2.0, "slower")


@pytest.mark.parametrize("rounds_ms", [(), ((),), ((1.0,), (1.0, 2.0)), ((0.0,),), ((math.nan,),)])
def test_rounds_that_say_nothing_are_refused(rounds_ms: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"rounds_ms needs|a median of"):
        derive.of_rounds(rounds_ms, 1, LEVEL)
