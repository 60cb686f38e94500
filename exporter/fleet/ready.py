"""Which jobs can run now: the plan's graph, with jobs without an output blocking those that need it."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from graphlib import TopologicalSorter


class ReadyJobs:
    """The jobs of a sweep, in the order of its plan as far as their needs allow.

    Args:
        classes: worker class by key, in the plan's order.
        needs: keys that a job needs; nothing where it needs none.
        lenient: keys of jobs that take what there is of their needs; they are blocked only where there is none.
        settled: what earlier runs came to: whether there is an output.
        blocked: told of each job that cannot run, with the need that stands in its way.
    """

    def __init__(
        self,
        classes: Mapping[str, str],
        needs: Mapping[str, Collection[str]],
        *,
        lenient: Collection[str] = (),
        settled: Mapping[str, bool] | None = None,
        blocked: Callable[[str, str], None] = lambda _job, _need: None,
    ) -> None:
        self._classes, self._needs, self._lenient = classes, needs, lenient
        self._blocked = blocked
        self._place = {key: place for place, key in enumerate(classes)}
        self._ready: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self._without: set[str] = set()
        self._open = len(classes)
        self._settled = dict(settled or {})
        self._reached: set[str] = set()
        self._sorter: TopologicalSorter[str] = TopologicalSorter({key: needs.get(key, ()) for key in classes})
        self._sorter.prepare()
        self._advance()

    @property
    def unsettled(self) -> int:
        """How many jobs have no final state yet."""
        return self._open

    def classes(self) -> list[str]:
        """Classes that have ready jobs."""
        return [name for name, jobs in self._ready.items() if jobs]

    def waiting(self, worker_class: str) -> int:
        """How many jobs of a class are ready."""
        return len(self._ready.get(worker_class, ()))

    def take(self, worker_class: str, count: int) -> list[str]:
        """The first ready jobs of a class, which are then no longer ready."""
        jobs = self._ready[worker_class]
        return [heapq.heappop(jobs)[1] for _ in range(min(count, len(jobs)))]

    def give_back(self, key: str) -> None:
        """Make a job ready again that was taken."""
        heapq.heappush(self._ready[self._classes[key]], (self._place[key], key))

    def settle(self, key: str, *, output: bool) -> None:
        """Write a job off, with or without an output, and see what becomes ready or blocked of it."""
        self._end(key, output=output)
        self._advance()

    def settle_all(self, keys: Iterable[tuple[str, bool]]) -> None:
        """`settle` many at once."""
        for key, output in keys:
            self._end(key, output=output)
        self._advance()

    def drop(self, keys: Collection[str]) -> list[str]:
        """Take ready jobs out, to be settled by the caller; those among `keys` that were ready."""
        dropped = []
        for jobs in self._ready.values():
            dropped += [key for _, key in jobs if key in keys]
            jobs[:] = [entry for entry in jobs if entry[1] not in keys]
            heapq.heapify(jobs)
        return dropped

    def drop_later(self, keys: Collection[str]) -> list[str]:
        """Have jobs end without an output once their needs are settled; those among `keys` whose needs are not yet."""
        later = [key for key in keys if key in self._place and key not in self._reached and key not in self._settled]
        self._settled.update(dict.fromkeys(later, False))
        return later

    def _end(self, key: str, *, output: bool) -> None:
        if not output:
            self._without.add(key)
        self._open -= 1
        self._sorter.done(key)

    def _advance(self) -> None:
        while fresh := self._sorter.get_ready():
            self._reached.update(fresh)
            for key in fresh:
                if key in self._settled:
                    self._end(key, output=self._settled[key])
                elif (obstacle := self._obstacle(key)) is not None:
                    self._blocked(key, obstacle)
                    self._end(key, output=False)
                else:
                    self.give_back(key)

    def _obstacle(self, key: str) -> str | None:
        """A need without an output that a job cannot do without."""
        needs = self._needs.get(key, ())
        lacking = [need for need in needs if need in self._without]
        if not lacking or (key in self._lenient and len(lacking) < len(needs)):
            return None
        return lacking[0]
