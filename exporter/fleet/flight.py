"""What is in the air, and what may follow it: at most as many jobs as there are slots, and suspects alone.

A job whose worker died may be what killed it, or may have stood beside it. It waits, then runs with nothing else of
its class in flight; before the last death that makes it poison, with nothing else in flight at all. So what kills
workers is told from what was only near, whatever the engine suspects.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from .engine import Capacity
from .plan import Limits
from .ready import ReadyJobs
from .verdict import History


@dataclass(frozen=True, slots=True)
class Flying:
    """One attempt in the air.

    Attributes:
        alone: nothing else was in flight when it was handed over, nor came after.
    """

    number: int
    key: str
    worker_class: str
    alone: bool = False


@dataclass
class Airspace:
    """Attempts in the air, and jobs that wait for a reason of their own.

    Attributes:
        suspects: jobs whose worker died, with their class.
        delayed: when, key and class of jobs that wait after the store failed.
        histories: of jobs that were tried before in this run.
    """

    limits: Limits
    flying: dict[int, Flying] = field(default_factory=dict)
    suspects: deque[tuple[str, str]] = field(default_factory=deque)
    delayed: list[tuple[float, str, str]] = field(default_factory=list)
    histories: dict[str, History] = field(default_factory=dict)

    def history(self, key: str) -> History:
        """What was tried of a job."""
        return self.histories.get(key, History())

    def choose(self, ready: ReadyJobs, capacity: Capacity) -> Iterator[tuple[str, str, bool]]:
        """Jobs to hand over now: key, class, and whether nothing else may fly with it."""
        by_class = Counter(one.worker_class for one in self.flying.values())
        if any(one.alone for one in self.flying.values()):
            return
        held: set[str] = set()
        if self.suspects:
            key, worker_class = self.suspects[0]
            last = len(self.history(key).died) >= self.limits.deaths - 1
            held = set(ready.classes()) if last else {worker_class}
            clear = not self.flying if last else not by_class[worker_class]
            suspected = {one.key for one in self.flying.values()} & self.histories.keys()
            in_trial = any(self.history(one).died for one in suspected)
            if clear and not in_trial and capacity.by_class.get(worker_class, 0):
                self.suspects.popleft()
                yield key, worker_class, last
        yield from self._fill(ready, capacity, by_class, held)

    def _fill(
        self, ready: ReadyJobs, capacity: Capacity, by_class: Counter[str], held: set[str]
    ) -> Iterator[tuple[str, str, bool]]:
        """As many ready jobs as there are slots left, of classes that are not held for a suspect."""
        room = min(capacity.total, self.limits.in_flight) - len(self.flying)
        on_trial = {one.worker_class for one in self.flying.values() if self.history(one.key).died}
        for worker_class in ready.classes():
            if worker_class in held or worker_class in on_trial:
                continue
            free = min(room, capacity.by_class.get(worker_class, 0) - by_class[worker_class])
            for key in ready.take(worker_class, max(free, 0)):
                room -= 1
                yield key, worker_class, False

    def due(self) -> list[str]:
        """Delayed jobs whose time has come."""
        now = time.monotonic()
        due = [key for when, key, _ in self.delayed if when <= now]
        self.delayed = [entry for entry in self.delayed if entry[0] > now]
        return due

    def land(self, number: int) -> tuple[Flying | None, bool]:
        """Take an attempt out of the air; whether it was alone in it."""
        flying = self.flying.pop(number, None)
        return flying, flying is not None and not self.flying
