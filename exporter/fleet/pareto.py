"""Which artifacts of one sitting are worth a choice: those that no other beats in speed, accuracy and size together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A measured number and the interval that it is known within."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Candidate:
    """One artifact in one sitting.

    Attributes:
        loss: what is lost of the accuracy, less is better; None where none was measured.
    """

    latency_ms: Interval
    loss: float | None
    size_mib: float


def front(candidates: Sequence[Candidate]) -> tuple[int | None, ...]:
    """For each candidate the first one that dominates it; None for those of the front.

    Another dominates where it is better in one of latency, accuracy and size, and worse in none. Latencies whose
    intervals overlap are not told apart: neither is better.

    Given   4.0 ms (3.9 to 4.1), 1.0 MiB   4.05 ms (3.9 to 4.2), 2.0 MiB   9.0 ms (8.8 to 9.2), 0.5 MiB
    Result  None                           0                               None
    """
    return tuple(
        next((index for index, other in enumerate(candidates) if dominates(other, one)), None) for one in candidates
    )


def dominates(a: Candidate, b: Candidate) -> bool:
    """Whether `a` is better in something and worse in nothing."""
    orders = (_latency(a.latency_ms, b.latency_ms), _order(a.loss, b.loss), _order(a.size_mib, b.size_mib))
    return max(orders) <= 0 and min(orders) < 0


def _latency(a: Interval, b: Interval) -> int:
    """-1 where `a` is surely faster, 1 where it is surely slower, else 0."""
    return -1 if a.high < b.low else int(a.low > b.high)


def _order(a: float | None, b: float | None) -> int:
    """-1 where `a` is less, 1 where it is more; 0 where they are equal, or one is unknown."""
    return 0 if a is None or b is None or a == b else -1 if a < b else 1
