"""Statistics of rounds: percentiles, throughput, the ratio of two artifacts, their bootstrap intervals, the verdict.

Calls of one round share what the machine did meanwhile, so they are no independent samples: whole rounds are drawn with
replacement, never calls. The interval is the percentile interval of the resampled statistic. Two artifacts are compared
by the ratio of their medians within each round, which cancels what changes slowly.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, sections 13.3 (percentile interval) and 8.3 (what
to draw where the data has structure).

A program on a device writes its rounds alone; whoever reads its result has the rest from here, so that no device needs
statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from slide_export.core.measurement import ArtifactTiming, BenchProtocol, Comparison, Interval, Verdict

if TYPE_CHECKING:
    from slide_export.core.artifact import Array

RESAMPLES = 2000
BATCH_VALUES = 2**22  # drawn at a time at most, 32 MiB of float64
SEED = 0  # the same rounds give the same interval
PERCENTILE_RANKS = (50.0, 90.0, 99.0)

Rounds = Sequence[Sequence[float]]


@dataclass(frozen=True)
class TimingSummary:
    """The computed fields of an `ArtifactTiming`, by its names."""

    p50_ms: Interval
    p90_ms: Interval
    p99_ms: Interval
    images_per_s: float


def summarize(rounds_ms: Rounds, batch: int, confidence: float) -> TimingSummary:
    """Percentiles and throughput of one run.

    Args:
        rounds_ms: [rounds][calls], as many calls in each round.

    Raises:
        ValueError: there is no call, the rounds differ in length, or the median is not above 0.
    """
    if not rounds_ms or not all(rounds_ms) or len({len(calls) for calls in rounds_ms}) != 1:
        raise ValueError("rounds_ms needs as many calls, at least one, in every round")
    p50, p90, p99 = percentiles(rounds_ms, PERCENTILE_RANKS, confidence)
    if not p50.value > 0:
        raise ValueError(f"a median of {p50.value} ms")
    return TimingSummary(p50, p90, p99, batch * 1e3 / p50.value)


def comparisons(runs: Sequence[ArtifactTiming], protocol: BenchProtocol) -> Iterator[Comparison]:
    """Each run with each before it at the same batch size; substitute runtimes are compared with their like alone."""
    for a, later in enumerate(runs):
        for b, earlier in enumerate(runs[:a]):
            if later.batch == earlier.batch and later.stand_in == earlier.stand_in:
                time_ratio = ratio(later.rounds_ms, earlier.rounds_ms, protocol.confidence)
                found = verdict(time_ratio, protocol.rounds, protocol.confidence, protocol.same_within)
                yield Comparison(a, b, time_ratio, found)


def percentiles(rounds_ms: Rounds, ranks: Sequence[float], confidence: float) -> tuple[Interval, ...]:
    """A percentile of all calls for each rank, 0 to 100, with its interval.

    Args:
        rounds_ms: [rounds][calls].
    """
    times = np.asarray(rounds_ms)

    def of_rounds(rows: Array, axis: int = -1) -> Array:
        """Percentiles of the calls in the drawn rounds: [..., rounds] -> [ranks, ...]."""
        calls = times[rows].reshape(*rows.shape[:-1], -1)  # [..., rounds, calls] -> [..., rounds * calls]
        found: Array = np.percentile(calls, ranks, axis=axis)
        return found

    return _bootstrap(of_rounds, times.shape, confidence)


def ratio(a_ms: Rounds, b_ms: Rounds, confidence: float) -> Interval:
    """A's time over b's: the median over the rounds of the ratio of their medians in a round."""
    ratios = np.median(a_ms, axis=1) / np.median(b_ms, axis=1)  # [rounds]

    def of_rounds(rows: Array, axis: int = -1) -> Array:
        """Median ratio of the drawn rounds: [..., rounds] -> [1, ...]."""
        found: Array = np.median(ratios[rows], axis=axis)[None]
        return found

    (found,) = _bootstrap(of_rounds, (len(ratios), 1), confidence)
    return found


def _bootstrap(statistic: Callable[..., Array], shape: tuple[int, ...], confidence: float) -> tuple[Interval, ...]:
    """Each value of a statistic over all rounds, with its percentile interval over resampled rounds.

    Args:
        statistic: takes indices of rounds, [..., rounds], and gives [values, ...].
        shape: numbers of rounds and of values in a round.
    """
    from scipy import stats  # half a second, and an export that tunes nothing needs none

    rounds, in_round = shape
    every = np.arange(rounds)
    values = statistic(every)  # [values]
    if rounds == 1:  # every resample is the same round; SciPy refuses a sample of one
        return tuple(Interval(float(value), float(value), float(value)) for value in values)
    bounds = stats.bootstrap(
        (every,),
        statistic,
        n_resamples=RESAMPLES,
        batch=max(1, BATCH_VALUES // (rounds * in_round)),
        confidence_level=confidence,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return tuple(Interval(*map(float, one)) for one in zip(values, bounds.low, bounds.high, strict=True))


def verdict(of: Interval, rounds: int, confidence: float, same_within: float) -> Verdict:
    """Verdict on a relative to b, from the interval of a's time over b's.

    "faster" and "slower" too need the whole interval beyond `same_within`: two processes of one artifact differ by a
    constant percent or so, by where their memory lies, which no number of rounds shows (Source: Mytkowicz et al.,
    Producing Wrong Data Without Doing Anything Obviously Wrong, ASPLOS 2009). Few rounds tell nothing: the extremes of
    n rounds enclose the true median with probability 1 - 2^(1-n), and no interval from them can do better.
    """
    if 2.0 ** (1 - rounds) > 1 - confidence:
        return "cannot tell"
    if of.high < 1 - same_within:
        return "faster"
    if of.low > 1 + same_within:
        return "slower"
    return "same" if 1 - same_within <= of.low and of.high <= 1 + same_within else "cannot tell"
