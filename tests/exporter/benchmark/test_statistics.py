"""Statistics against SciPy, known distributions and numbers worked out by hand; verdicts where the truth is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from slide_export.benchmark import statistics
from slide_export.core.measurement import ArtifactInfo, ArtifactTiming, BenchProtocol, Interval, Verdict

LEVEL = 0.95
BOOTSTRAP = 0.01  # two bootstraps of 2000 resamples with other seeds; relative
ROUNDS, CALLS = 20, 5


def simulate(seed: int, scale: float = 1.0, noise: float = 0.01, drift: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Rounds of two artifacts on one drifting machine, [rounds, calls] each; b takes `scale` as long as a."""
    generator = np.random.default_rng(seed)
    machine = np.linspace(1, 1 + drift, ROUNDS)[:, None]
    a, b = (10 * machine * generator.lognormal(0, noise, (ROUNDS, CALLS)) for _ in range(2))
    return a, scale * b


def verdict(a: np.ndarray, b: np.ndarray) -> Verdict:
    return statistics.verdict(statistics.ratio(b.tolist(), a.tolist(), LEVEL), len(a), LEVEL, 0.02)


def test_percentiles_are_those_of_all_calls() -> None:
    times, _ = simulate(0)
    found = statistics.percentiles(times.tolist(), (50, 90, 99), LEVEL)
    ordered = np.sort(times.ravel())  # 100 calls: the percentile p lies at place 0.99 p, between two of them
    for interval, rank in zip(found, (50, 90, 99), strict=True):
        place = rank / 100 * 99
        below = int(place)
        assert interval.value == pytest.approx(ordered[below] + (place - below) * (ordered[below + 1] - ordered[below]))
        assert interval.low <= interval.value <= interval.high


def test_the_interval_is_scipys_over_rounds() -> None:
    times, _ = simulate(1)
    (found,) = statistics.percentiles(times.tolist(), (50,), LEVEL)
    expected = stats.bootstrap(
        (np.arange(ROUNDS),),
        lambda rows: np.median(times[rows]),
        vectorized=False,
        method="percentile",
        n_resamples=statistics.RESAMPLES,
        confidence_level=LEVEL,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=BOOTSTRAP)


def test_calls_of_a_round_are_not_counted_as_independent() -> None:
    rounds = np.repeat(np.random.default_rng(2).normal(10, 1, (ROUNDS, 1)), 50, axis=1)  # a round's calls are all equal
    (found,) = statistics.percentiles(rounds.tolist(), (50,), LEVEL)
    (of_one_call,) = statistics.percentiles(rounds[:, :1].tolist(), (50,), LEVEL)
    assert found.high - found.low == pytest.approx(of_one_call.high - of_one_call.low, rel=0.2)


def test_the_interval_holds_the_true_ratio_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(200):
        a, b = simulate(seed, scale=1.05)
        ratio = statistics.ratio(b.tolist(), a.tolist(), LEVEL)
        hits += ratio.low <= 1.05 <= ratio.high
    # binomial with 200 draws: 0.95 would give 178 to 198 in all but 1 of 1000 cases, 0.85 at most 185 in 95 of 100
    assert 178 <= hits <= 199


def test_drift_that_both_share_cancels() -> None:
    a, b = simulate(3, scale=1.1, noise=1e-6, drift=5.0)
    ratio = statistics.ratio(b.tolist(), a.tolist(), LEVEL)
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((1.1, 1.1, 1.1), rel=1e-5)


@pytest.mark.parametrize(("scale", "expected"), [(1.0, "same"), (1.1, "slower"), (0.9, "faster")])
@pytest.mark.parametrize("seed", range(5))
def test_a_verdict_on_rounds_whose_truth_is_known(scale: float, expected: Verdict, seed: int) -> None:
    assert verdict(*simulate(seed, scale)) == expected


@pytest.mark.parametrize(("scale", "noise"), [(1.0, 0.5), (1.02, 0.01)])
def test_where_nothing_can_be_told_a_difference_is_seldom_said(scale: float, noise: float) -> None:
    said = [verdict(*simulate(seed, scale, noise)) for seed in range(100)]
    wrong = sum(one in ("faster", "slower") for one in said)
    assert wrong <= 12  # of 100 with a chance of 1 in 20 each: more would come once in 700 times
    assert said.count("cannot tell") >= 85


def test_a_slowdown_in_some_rounds_alone_is_no_verdict() -> None:
    a, b = simulate(4)
    b[: ROUNDS // 2] *= 1.5
    assert verdict(a, b) == "cannot tell"


@pytest.mark.parametrize(("rounds", "expected"), [(5, "cannot tell"), (6, "slower")])
def test_few_rounds_allow_none(rounds: int, expected: Verdict) -> None:
    assert statistics.verdict(Interval(2.0, 1.9, 2.1), rounds, LEVEL, 0.02) == expected


def test_drawing_in_batches_gives_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    times, other = simulate(5)
    at_once = statistics.percentiles(times.tolist(), (50, 90, 99), LEVEL), statistics.ratio(times, other, LEVEL)
    monkeypatch.setattr(statistics, "BATCH_VALUES", 7 * ROUNDS * CALLS)
    assert at_once == (
        statistics.percentiles(times.tolist(), (50, 90, 99), LEVEL), statistics.ratio(times, other, LEVEL)
    )  # fmt: skip


def test_one_round_is_its_own_interval() -> None:
    (found,) = statistics.percentiles([[1.0, 3.0]], (50,), LEVEL)
    assert found == Interval(2.0, 2.0, 2.0)


TWENTY_CALLS = tuple((float(time), time + 1.0) for time in range(1, 11))  # 1, 2, 2, 3, 3, … 10, 10, 11


def run(rounds_ms: tuple[tuple[float, ...], ...], batch: int = 1, stand_in: str = "") -> ArtifactTiming:
    summary = statistics.summarize(rounds_ms, batch, LEVEL)
    subject = ArtifactInfo("a", "onnx", "fp32", "swin", "swin_tiny", (224, 224))
    plain = ArtifactTiming(
        subject=subject, evaluator="it", batch=batch, rounds_ms=rounds_ms, warmup_calls=1, stable=True, load_ms=1.0,
        first_ms=1.0, **vars(summary),
    )  # fmt: skip
    return replace(plain, stand_in=stand_in)


def test_percentiles_and_throughput_are_those_of_all_calls() -> None:
    found = statistics.summarize(TWENTY_CALLS, 4, LEVEL)
    assert found.p50_ms.value == 6.0  # 20 calls: between the tenth, 6, and the eleventh, 6
    assert found.p90_ms.value == pytest.approx(10.0)  # at place 17.1: between 10 and 10
    assert found.images_per_s == pytest.approx(4000 / 6)


def test_runs_of_one_batch_and_one_kind_are_compared() -> None:
    slow = tuple(tuple(2 * call for call in calls) for calls in TWENTY_CALLS)
    runs = (run(TWENTY_CALLS), run(slow), run(slow, batch=2), run(TWENTY_CALLS, stand_in="an evaluator"))
    (found,) = statistics.comparisons(runs, BenchProtocol(10, 2))
    assert (found.a, found.b, found.ratio.value, found.verdict) == (1, 0, 2.0, "slower")


@pytest.mark.parametrize("rounds_ms", [(), ((),), ((1.0,), (1.0, 2.0)), ((0.0,),), ((math.nan,),)])
def test_rounds_that_say_nothing_are_refused(rounds_ms: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"rounds_ms needs|a median of"):
        statistics.summarize(rounds_ms, 1, LEVEL)


def test_the_bootstrap_is_two_thousand_resamples_from_a_fixed_seed() -> None:
    """The same rounds give the same interval, to the last bit; fewer resamples or another seed give another."""
    times, _ = simulate(6)
    (found,) = statistics.percentiles(times.tolist(), (93,), LEVEL)  # between two calls: medians are often the same
    expected = stats.bootstrap(
        (np.arange(ROUNDS),),
        lambda rows, axis: np.percentile(times[rows].reshape(*rows.shape[:-1], -1), 93, axis=axis),
        method="percentile",
        n_resamples=2000,
        confidence_level=LEVEL,
        vectorized=True,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (found.low, found.high) == (expected.low, expected.high)


def test_a_summary_has_the_three_percentiles() -> None:
    times, _ = simulate(7)
    found = statistics.summarize(times.tolist(), 1, LEVEL)
    ranks = (found.p50_ms.value, found.p90_ms.value, found.p99_ms.value)
    assert ranks == pytest.approx(tuple(np.percentile(times, (50, 90, 99))))


def test_a_median_below_a_millisecond_is_one() -> None:
    assert statistics.summarize([[0.25, 0.5]], 1, LEVEL).images_per_s == pytest.approx(1e3 / 0.375)


A_QUARTER = 0.25  # exact in binary, so that a bound can be met


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.5, 0.74, "faster"),
        (0.5, 0.75, "cannot tell"),
        (0.75, 1.25, "same"),
        (0.74, 1.25, "cannot tell"),
        (0.75, 1.26, "cannot tell"),
        (1.25, 1.5, "cannot tell"),
        (1.26, 1.5, "slower"),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(low: float, high: float, expected: Verdict) -> None:
    assert statistics.verdict(Interval(1.0, low, high), 10, LEVEL, A_QUARTER) == expected


@pytest.mark.parametrize(("rounds", "expected"), [(5, "cannot tell"), (6, "faster"), (7, "faster")])
def test_the_extremes_of_few_rounds_enclose_the_median_too_seldom(rounds: int, expected: Verdict) -> None:
    """Six rounds do with 1 - 2^-5, which is as good as asked for here."""
    assert statistics.verdict(Interval(0.5, 0.4, 0.6), rounds, 1 - 2.0**-5, 0.0) == expected
