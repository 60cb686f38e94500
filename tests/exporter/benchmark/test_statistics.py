"""Statistics against SciPy, against known distributions, and verdicts on rounds whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from slide_export.benchmark import statistics as intervals
from slide_export.core.measurement import Interval, Verdict

LEVEL = 0.95
BOOTSTRAP = 0.01  # two bootstraps of 2000 resamples with other seeds; relative
ROUNDS, CALLS = 20, 5


def simulate(seed: int, scale: float = 1.0, noise: float = 0.01, drift: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Returns rounds of two artifacts on one drifting machine, [rounds, calls] each; b takes `scale` as long as a."""
    generator = np.random.default_rng(seed)
    machine = np.linspace(1, 1 + drift, ROUNDS)[:, None]
    a, b = (10 * machine * generator.lognormal(0, noise, (ROUNDS, CALLS)) for _ in range(2))
    return a, scale * b


def verdict(a: np.ndarray, b: np.ndarray) -> Verdict:
    return intervals.verdict(intervals.ratio(b.tolist(), a.tolist(), LEVEL), len(a), LEVEL, 0.02)


def test_percentiles_are_those_of_all_calls() -> None:
    times, _ = simulate(0)
    found = intervals.percentiles(times.tolist(), (50, 90, 99), LEVEL)
    ordered = np.sort(times.ravel())  # 100 calls: the percentile p lies at place 0.99 p, between two of them
    for interval, rank in zip(found, (50, 90, 99), strict=True):
        place = rank / 100 * 99
        below = int(place)
        assert interval.value == pytest.approx(ordered[below] + (place - below) * (ordered[below + 1] - ordered[below]))
        assert interval.low <= interval.value <= interval.high


def test_the_interval_is_scipys_over_rounds() -> None:
    times, _ = simulate(1)
    (found,) = intervals.percentiles(times.tolist(), (50,), LEVEL)
    expected = stats.bootstrap(
        (np.arange(ROUNDS),),
        lambda rows: np.median(times[rows]),
        vectorized=False,
        method="percentile",
        n_resamples=intervals.RESAMPLES,
        confidence_level=LEVEL,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=BOOTSTRAP)


def test_calls_of_a_round_are_not_counted_as_independent() -> None:
    rounds = np.repeat(np.random.default_rng(2).normal(10, 1, (ROUNDS, 1)), 50, axis=1)  # a round's calls are all equal
    (found,) = intervals.percentiles(rounds.tolist(), (50,), LEVEL)
    (of_one_call,) = intervals.percentiles(rounds[:, :1].tolist(), (50,), LEVEL)
    assert found.high - found.low == pytest.approx(of_one_call.high - of_one_call.low, rel=0.2)


def test_the_interval_holds_the_true_ratio_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(200):
        a, b = simulate(seed, scale=1.05)
        ratio = intervals.ratio(b.tolist(), a.tolist(), LEVEL)
        hits += ratio.low <= 1.05 <= ratio.high
    # binomial with 200 draws: 0.95 would give 178 to 198 in all but 1 of 1000 cases, 0.85 at most 185 in 95 of 100
    assert 178 <= hits <= 199


def test_drift_that_both_share_cancels() -> None:
    a, b = simulate(3, scale=1.1, noise=1e-6, drift=5.0)
    ratio = intervals.ratio(b.tolist(), a.tolist(), LEVEL)
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
    assert intervals.verdict(Interval(2.0, 1.9, 2.1), rounds, LEVEL, 0.02) == expected


def test_one_round_is_its_own_interval() -> None:
    (found,) = intervals.percentiles([[1.0, 3.0]], (50,), LEVEL)
    assert found == Interval(2.0, 2.0, 2.0)
