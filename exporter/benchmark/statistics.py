"""Statistics of rounds: percentiles, the ratio of two artifacts, their bootstrap intervals and the verdict.

Calls of one round share what the machine did meanwhile, so they are no independent samples: whole rounds are drawn with
replacement, never calls. The interval is the percentile interval of the resampled statistic. Two artifacts are compared
by the ratio of their medians within each round, which cancels what changes slowly.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, sections 13.3 (percentile interval) and 8.3 (what
to draw where the data has structure).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from slide_export.core.measurement import Interval, Verdict

if TYPE_CHECKING:
    from slide_export.core.artifact import Array

RESAMPLES = 2000
SEED = 0  # the same rounds give the same interval

Rounds = Sequence[Sequence[float]]


def percentiles(rounds_ms: Rounds, ranks: Sequence[float], confidence: float) -> tuple[Interval, ...]:
    """Returns a percentile of all calls for each rank, 0 to 100, with its interval.

    Args:
        rounds_ms: [rounds][calls].
    """
    times = np.asarray(rounds_ms)
    drawn = np.array([np.percentile(times[rows], ranks) for rows in _draws(len(times))])  # [resamples, ranks]
    lows, highs = _bounds(drawn, confidence)
    values = np.percentile(times, ranks)
    return tuple(Interval(*map(float, interval)) for interval in zip(values, lows, highs, strict=True))


def ratio(a_ms: Rounds, b_ms: Rounds, confidence: float) -> Interval:
    """Returns a's time over b's: the median over the rounds of the ratio of their medians in a round."""
    ratios = np.median(a_ms, axis=1) / np.median(b_ms, axis=1)
    low, high = _bounds(np.median(ratios[_draws(len(ratios))], axis=1), confidence)
    return Interval(float(np.median(ratios)), float(low), float(high))


def verdict(of: Interval, rounds: int, confidence: float, same_within: float) -> Verdict:
    """Returns what an interval of a ratio says of a beside b.

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


def _draws(rounds: int) -> "Array":
    """Returns the rounds of each resample, [resamples, rounds]."""
    return np.random.default_rng(SEED).integers(rounds, size=(RESAMPLES, rounds))


def _bounds(drawn: "Array", confidence: float) -> "Array":
    tail = 50 * (1 - confidence)
    bounds: Array = np.percentile(drawn, [tail, 100 - tail], axis=0)  # [2, ...]
    return bounds
