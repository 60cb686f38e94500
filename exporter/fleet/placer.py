"""dask.distributed as a disposable placer: it finds a worker for each order, and may forget everything at any time.

Its own retries are off, and it is never handed more than the workers have slots for: what it then says of a job whose
worker died is true of that job and of few others. Nothing of a sweep is in its memory but orders and answers, as text.
"""

from __future__ import annotations

import json
import queue
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future as Later
from typing import Any

from slide_export.core.errors import CRASHED, TimeLimitError

from . import work
from .engine import Capacity
from .job import Answer, Ended, Submission
from .stages import TARGET

GIVE_UP_S = 900.0  # for a scheduler that is gone to be started again
FETCHED = 0  # no attempt's number: answers have come
PROMPT_S = 0.001  # between two messages of the client, for which dask itself takes 10 ms: each short job waited for it
MUCH = 1e6  # of what is there or not, a target's runtime say: any number of jobs may use it at a time


class DaskEngine:
    """Jobs on the workers of one scheduler.

    Args:
        client: connected, of dask's own type, which tells types of little.
        reconnect: makes a new client where the old one has given up; raises OSError while there is no scheduler.
        watch: called now and then, for a cluster of our own to be looked after.
    """

    def __init__(
        self,
        client: Any,
        reconnect: Any = None,
        watch: Any = lambda _workers: None,
        give_up_s: float = GIVE_UP_S,
    ) -> None:
        self._client, self._reconnect, self._watch = client, reconnect, watch
        self._give_up_s = give_up_s
        self._futures: dict[int, tuple[Submission, Any]] = {}
        self._spent: list[Any] = []
        self._told: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._gathering: list[tuple[list[int], Later[dict[int, str]]]] = []
        self._gone_since: float | None = None
        self._addresses: dict[str, str] = {}

    def capacity(self, classes: Collection[str]) -> Capacity:
        """What the workers that the scheduler knows now could run; nothing while there is no scheduler.

        Raises:
            TimeLimitError: there was none for too long.
        """
        workers = self._workers()
        self._addresses = {str(worker["name"]): address for address, worker in workers.items()}
        self._watch(len(workers))
        offers = {str(worker["name"]): worker["resources"] for worker in workers.values()}
        total = sum(int(offer.get("slot", 0)) for offer in offers.values())
        fitting = {one: {name: fits(offer, one) for name, offer in offers.items()} for one in classes}
        return Capacity(
            total,
            {one: sum(by_worker.values()) for one, by_worker in fitting.items()},
            {one: frozenset(name for name, count in by_worker.items() if count) for one, by_worker in fitting.items()},
        )

    def submit(self, submissions: Sequence[Submission]) -> None:
        """Hand attempts to the scheduler, those that need the same together."""
        if submissions and (stream := self._client.scheduler_comm) is not None:
            stream.interval = PROMPT_S
        alike: dict[tuple[str, frozenset[str]], list[Submission]] = defaultdict(list)
        for one in submissions:
            alike[one.worker_class, one.avoid].append(one)
        for (worker_class, avoid), group in alike.items():
            allowed = [address for name, address in self._addresses.items() if name not in avoid] if avoid else None
            futures = self._client.map(
                work.run,
                [one.order for one in group],
                key=[f"{one.key}-{one.number}" for one in group],
                resources=json.loads(worker_class),
                workers=allowed,
                retries=0,
                pure=False,
            )
            for one, future in zip(group, futures, strict=True):
                self._futures[one.number] = one, future
                future.add_done_callback(_teller(self._told, one.number))
        # Letting go of futures is a message too: first what a worker waits for.
        self._spent.clear()

    def next_batch(self, timeout_s: float) -> list[Ended]:
        """Ends since the last call: answers are fetched as they come, all that are there at a time."""
        deadline = time.monotonic() + timeout_s
        ended: list[Ended] = []
        while not ended:
            left = deadline - time.monotonic()
            ready = []
            for number in self._finished(left):
                if number not in self._futures:
                    continue
                submission, future = self._futures[number]
                if future.status == "finished":
                    ready.append(number)
                else:
                    del self._futures[number]
                    ended.append(_without_answer(submission, future))
            if ready:
                self._gathering.append((ready, self._gather(ready)))
            ended += self._fetched()
            if left <= 0:
                break
        return ended

    def stop(self, keys: Collection[str]) -> None:
        """Take jobs back from the scheduler, and kill those that run."""
        futures = [future for one, future in self._futures.values() if one.key in keys]
        if self._client.status == "running":
            self._client.cancel(futures)
            self._client.run(work.stop, list(keys), on_error="ignore")
        self._futures = {number: pair for number, pair in self._futures.items() if pair[0].key not in keys}

    def close(self) -> None:
        """Leave the scheduler."""
        self._futures.clear()
        self._spent.clear()
        self._client.close(timeout=5)

    def _workers(self) -> Mapping[str, Any]:
        """What the scheduler knows of each worker, by address."""
        try:
            if self._client.status == "closed":
                self._client = self._reconnect()
            if self._client.status != "running":
                raise OSError("no connection")
            found: Mapping[str, Any] = self._client.sync(self._client.scheduler.identity, n_workers=-1)["workers"]
        except OSError as error:
            self._gone_since = self._gone_since or time.monotonic()
            if time.monotonic() - self._gone_since > self._give_up_s:
                raise TimeLimitError(
                    f"expected the scheduler again within {self._give_up_s / 60:g} min, found none ({error}): start "
                    "it, and run the same command again"
                ) from error
            return {}
        self._gone_since = None
        return found

    def _finished(self, timeout_s: float) -> list[int]:
        """Numbers of attempts that the scheduler has told of; waits for the first."""
        found = []
        try:
            found.append(self._told.get(timeout=timeout_s) if timeout_s > 0 else self._told.get_nowait())
            while True:
                found.append(self._told.get_nowait())
        except queue.Empty:
            return found

    def _gather(self, numbers: list[int]) -> Later[dict[int, str]]:
        """Begin to fetch answers, without waiting: a worker that dies now has its jobs run again."""
        import asyncio

        futures = {number: self._futures[number][1] for number in numbers}

        async def fetch() -> dict[int, str]:
            """Answers by number, without those that are gone."""
            found: dict[int, str] = await self._client.gather(futures, errors="skip", asynchronous=True)
            return found

        later: Later[dict[int, str]] = asyncio.run_coroutine_threadsafe(fetch(), self._client.loop.asyncio_loop)
        later.add_done_callback(_teller(self._told, FETCHED))
        return later

    def _fetched(self) -> list[Ended]:
        """Answers that have come."""
        ended, waiting = [], []
        for numbers, later in self._gathering:
            if not later.done():
                waiting.append((numbers, later))
                continue
            found = {} if later.cancelled() or later.exception() is not None else later.result()
            for number in numbers:
                if number in self._futures:
                    submission, future = self._futures.pop(number)
                    self._spent.append(future)
                    answer = work.parsed(found[number]) if number in found else None
                    ended.append(Ended(number, submission.key, answer))
        self._gathering = waiting
        return ended


def fits(offer: Mapping[str, float], worker_class: str) -> int:
    """How many jobs of a class a worker could run at a time, if it had no others."""
    needs = json.loads(worker_class)
    return int(min((offer.get(name, 0.0) // amount for name, amount in needs.items() if amount), default=0))


def offered(slots: int, memory_gib: float, more: Mapping[str, float], targets: Iterable[str]) -> dict[str, float]:
    """What a worker offers: slots and memory are shared, a target's runtime is not used up."""
    return {"slot": float(slots), "memory_gib": memory_gib, **{f"{TARGET}{name}": MUCH for name in targets}, **more}


def _teller(told: queue.SimpleQueue[int], number: int) -> Any:
    def tell(_future: object) -> None:
        """Say that an attempt is over, however."""
        told.put(number)

    return tell


def _without_answer(submission: Submission, future: Any) -> Ended:
    """The end of an attempt that gave none: its worker died, the scheduler forgot it, or it could not be begun."""
    from distributed import KilledWorker

    if future.status != "error":
        return Ended(submission.number, submission.key, message="the scheduler lost it")
    error = future.exception()
    if isinstance(error, KilledWorker):
        return Ended(submission.number, submission.key, died=str(error.last_worker.name), message="its worker died")
    said = f"its worker could not run it: {type(error).__name__}: {error}"
    return Ended(submission.number, submission.key, Answer("crashed", CRASHED, said).plain())
