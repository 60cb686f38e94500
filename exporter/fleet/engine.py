"""What places jobs on workers: the interface, and the engine that runs each job in the calling process."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from . import work
from .job import Ended, Submission


@dataclass(frozen=True)
class Capacity:
    """What the workers could run at a time.

    Attributes:
        total: jobs of all classes together.
        by_class: jobs of each class that was asked for, if it had the workers alone.
        able: names of the workers that could run a class.
    """

    total: int
    by_class: Mapping[str, int] = field(default_factory=dict)
    able: Mapping[str, frozenset[str]] = field(default_factory=dict)


class Engine(Protocol):
    """Where jobs run. It forgets everything when it ends, and nobody minds."""

    def capacity(self, classes: Collection[str]) -> Capacity:
        """What the workers that are there now could run."""

    def submit(self, submissions: Sequence[Submission]) -> None:
        """Take attempts; each ends in `next_batch`, or is lost with the scheduler."""

    def next_batch(self, timeout_s: float) -> list[Ended]:
        """Ends since the last call; waits for one that long."""

    def stop(self, keys: Collection[str]) -> None:
        """Kill jobs; whether their ends are still told is open."""

    def close(self) -> None:
        """Let go of the workers, and end those that were started for this sweep."""


class InlineEngine:
    """Run one job after the other in this process: for tests, and to measure what a sweep costs without an engine."""

    def __init__(self, in_flight: int = 256) -> None:
        self._in_flight = in_flight
        self._waiting: deque[Submission] = deque()

    def capacity(self, classes: Collection[str]) -> Capacity:
        """As many as are to be handed over at a time, of any class."""
        here = frozenset({work.own_name()})
        return Capacity(self._in_flight, dict.fromkeys(classes, self._in_flight), dict.fromkeys(classes, here))

    def submit(self, submissions: Sequence[Submission]) -> None:
        """Keep attempts until they are asked for."""
        self._waiting.extend(submissions)

    def next_batch(self, _timeout_s: float) -> list[Ended]:
        """Run everything that waits."""
        ended = []
        while self._waiting:
            one = self._waiting.popleft()
            ended.append(Ended(one.number, one.key, work.parsed(work.run(one.order))))
        return ended

    def stop(self, keys: Collection[str]) -> None:
        """Forget what waits."""
        self._waiting = deque(one for one in self._waiting if one.key not in keys)

    def close(self) -> None:
        """Forget everything, and end the processes that ran jobs."""
        self._waiting.clear()
        work.close()
