"""What a result says beyond its measured times: percentiles, throughput, comparisons. Computed here and nowhere else.

`bench` writes them; a program on a device writes its rounds alone, and whoever reads its result has the rest from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from slide_export.core.measurement import ArtifactTiming, Comparison, Interval, Protocol

from . import statistics as intervals

RANKS = (50.0, 90.0, 99.0)


@dataclass(frozen=True)
class Derived:
    """The derived fields of a `Run`, by its names."""

    p50_ms: Interval
    p90_ms: Interval
    p99_ms: Interval
    images_per_s: float


def of_rounds(rounds_ms: Sequence[Sequence[float]], batch: int, confidence: float) -> Derived:
    """Returns what the rounds of one run say.

    Args:
        rounds_ms: [rounds][calls], as many calls in each round.

    Raises:
        ValueError: there is no call, or the rounds differ in length.
    """
    if not rounds_ms or not all(rounds_ms) or len({len(calls) for calls in rounds_ms}) != 1:
        raise ValueError("rounds_ms needs as many calls, at least one, in every round")
    p50, p90, p99 = intervals.percentiles(rounds_ms, RANKS, confidence)
    if not p50.value > 0:
        raise ValueError(f"a median of {p50.value} ms")
    return Derived(p50, p90, p99, batch * 1e3 / p50.value)


def comparisons(runs: Sequence[ArtifactTiming], protocol: Protocol) -> Iterator[Comparison]:
    """Yields each run beside each before it, at the same batch; a stand-in beside its like alone."""
    for a, later in enumerate(runs):
        for b, earlier in enumerate(runs[:a]):
            if later.batch == earlier.batch and later.stand_in == earlier.stand_in:
                ratio = intervals.ratio(later.rounds_ms, earlier.rounds_ms, protocol.confidence)
                said = intervals.verdict(ratio, protocol.rounds, protocol.confidence, protocol.same_within)
                yield Comparison(a, b, ratio, said)
