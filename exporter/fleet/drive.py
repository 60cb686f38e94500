"""The loop of a sweep: hands ready jobs to an engine, writes down what comes of them, and decides what runs again.

It knows *what* is ready and how often it may be tried; *where* it runs is the engine's own affair. Whatever it has not
written down can be found again in the artifact store, so it may be killed at any moment.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from slide_export.core.errors import OUT_OF_TIME, UNWRITABLE, WriteError, worst

from .cas import Store
from .database import Database
from .engine import Capacity, Engine
from .flight import Airspace, Flying
from .job import Answer, Ended, Submission
from .ledger import Ledger
from .plan import Limits
from .resume import PlannedJobs
from .verdict import Verdict, judge
from .wishes import Wishes, asked

LISTEN_S = 0.5  # between two looks for wishes of other processes
LOOK_S = 2.0  # between two looks at the workers that are there
LOOK_SOON_S, SOON_S = 0.2, 10.0  # after a death, for the worker that takes its place, and how long
NO_WORKER = 3
SWEEP_ENDED = "the sweep ended before it did"


@dataclass(frozen=True)
class SweepEnd:
    """How a sweep ended.

    Attributes:
        states: how many jobs are in each.
        exit_code: the worst of all jobs; of why it ended where some were not run: whoever sees it goes on.
        message: why it ended early; empty where it did not.
    """

    states: Mapping[str, int]
    exit_code: int
    message: str = ""


def _told_nobody(_state: str, _key: str, _message: str) -> None:
    """What settles is only written down."""


@dataclass(frozen=True)
class DriveOptions:
    """How long a run goes on, and who hears of it.

    Attributes:
        stop_after_s: no job begins later.
        wait_for_workers_s: how long a class may be without a worker before its jobs are blocked.
        told: told of each settled job: state, key, message.
    """

    stop_after_s: float = float("inf")
    wait_for_workers_s: float = 600.0
    told: Callable[[str, str, str], None] = _told_nobody


class Drive:
    """One run of a plan.

    Args:
        order: stage and spec -> the rest of the order for `work.run`.
    """

    def __init__(
        self,
        database: Database,
        plan: tuple[int, Limits],
        engine: Engine,
        store: Store | None,
        order: Callable[[str, str], dict[str, Any]],
        jobs: PlannedJobs,
        wishes: Wishes,
        options: DriveOptions,
    ) -> None:
        self._database, (self._plan, self._limits) = database, plan
        self._engine, self._order, self._wishes = engine, order, wishes
        self._air = Airspace(self._limits)
        self._until = time.monotonic() + options.stop_after_s
        self._patience_s = options.wait_for_workers_s
        self._ledger = Ledger(database, store, jobs, options.told)
        self._ready = self._ledger.ready
        self._capacity = Capacity(0)
        self._looked = self._listened = -LOOK_S
        self._died = -SOON_S
        self._lacking: dict[str, float] = {}
        self._why_over = ""
        self._code_over = 0

    def run(self) -> SweepEnd:
        """Run until every job has a final state, or the sweep is to end."""
        try:
            while self._ready.unsettled and not (self._over() and not self._air.flying):
                batch = self._engine.next_batch(self._pause())
                self._look()
                with self._database.transaction():  # one for all that a turn writes
                    self._take_in(batch)
                    self._obey()
                    submissions = self._hand_over()
                self._engine.submit(submissions)
        except WriteError as error:
            self._give_up(str(error), UNWRITABLE)
            self._await_flying()
        finally:
            self._end_flying()
        return self._end()

    def _over(self) -> bool:
        """Whether no new job is handed over."""
        if time.monotonic() >= self._until and not self._why_over:
            self._give_up("its time is over", OUT_OF_TIME)
        if self._wishes.no_more and not self._why_over:
            self._give_up("it was interrupted", OUT_OF_TIME)
        return bool(self._why_over)

    def _give_up(self, why: str, code: int) -> None:
        self._why_over, self._code_over = why, code

    def _pause(self) -> float:
        return 0.2 if self._air.flying else 0.05

    def _hand_over(self) -> list[Submission]:
        """Choose as many jobs as may fly, and write down that they do."""
        for key in self._air.due():
            self._ready.give_back(key)
        if self._over():
            return []
        chosen = [*self._air.choose(self._ready, self._capacity)]
        if not chosen:
            return []
        keys = [key for key, _, _ in chosen]
        numbers, orders = self._ledger.begin(keys), self._ledger.orders(keys, self._order)
        submissions = []
        for number, (key, worker_class, alone) in zip(numbers, chosen, strict=True):
            self._air.flying[number] = Flying(number, key, worker_class, alone)
            avoid = self._avoided(key, worker_class)
            submissions.append(Submission(number, key, worker_class, orders[key], avoid))
        return submissions

    def _avoided(self, key: str, worker_class: str) -> frozenset[str]:
        """Workers that handed a job back or crashed with it, unless there are no others."""
        elsewhere = self._air.history(key).elsewhere
        able = self._capacity.able.get(worker_class, frozenset())
        return elsewhere if able - elsewhere else frozenset()

    def _look(self) -> None:
        """See which workers are there, and block what none of them could run for too long."""
        if self._over():
            return
        now = time.monotonic()
        wanted = {*self._ready.classes(), *(worker_class for _, worker_class in self._air.suspects)}
        pause_s = LOOK_SOON_S if now - self._died < SOON_S else LOOK_S
        if now - self._looked < pause_s and wanted <= self._capacity.by_class.keys():
            return
        self._looked, self._capacity = now, self._engine.capacity(wanted)
        lacking = {one for one in wanted if not self._capacity.by_class.get(one)}
        before = set(self._lacking)
        self._lacking = {one: self._lacking.get(one, now) for one in lacking}
        if before != lacking or not lacking:
            self._note()
        for worker_class in [one for one, since in self._lacking.items() if now - since >= self._patience_s]:
            said = f"no worker offers {worker_class}: start one that does, and run the same command again"
            keys = self._ready.take(worker_class, self._ready.waiting(worker_class))
            waiting = [key for key, suspect_class in self._air.suspects if suspect_class == worker_class]
            self._air.suspects = deque(one for one in self._air.suspects if one[1] != worker_class)
            self._ledger.block([*keys, *waiting], Answer("failed", NO_WORKER, said))

    def _note(self) -> None:
        now = time.monotonic()
        lacking = {one: round(now - since) for one, since in self._lacking.items()}
        told = {"slots": self._capacity.total, "by_class": dict(self._capacity.by_class), "lacking": lacking}
        self._ledger.note("workers", told)

    def _take_in(self, batch: list[Ended]) -> None:
        """Judge what ended and write it down."""
        verdicts = []
        for one in batch:
            flying, alone = self._air.land(one.number)
            if flying is None:
                continue  # it was given up meanwhile
            verdict = judge(one, self._air.history(one.key), self._limits, alone=alone)
            if verdict.outcome == "died":
                self._died = time.monotonic()
            verdicts.append((flying, self._placed(flying, verdict)))
        if verdicts:
            self._ledger.write(verdicts)

    def _placed(self, flying: Flying, verdict: Verdict) -> Verdict:
        """A verdict whose job waits where it has to; one that no worker can do is blocked."""
        key = flying.key
        if verdict.state is not None:
            self._air.histories.pop(key, None)
            return verdict
        self._air.histories[key] = verdict.history
        able = self._capacity.able.get(flying.worker_class, frozenset())
        if verdict.handed_back and able and able <= verdict.history.elsewhere:
            return replace(verdict, state="blocked")
        if verdict.store_failed and verdict.answer is not None:
            self._give_up(f"the artifact store failed: {verdict.answer.message}", UNWRITABLE)
        if verdict.suspect:
            self._air.suspects.append((key, flying.worker_class))
        else:
            self._air.delayed.append((time.monotonic() + verdict.wait_s, key, flying.worker_class))
        return verdict

    def _obey(self) -> None:
        """What was asked for meanwhile."""
        wishes = self._wishes
        if time.monotonic() - self._listened >= LISTEN_S:
            self._listened = time.monotonic()
            if (keys := asked(self._database.path)) is not None:
                wishes.cancel, wishes.cancelled = keys, True
        if wishes.at_once:
            self._end_flying()
            self._give_up("it was interrupted", OUT_OF_TIME)
        if wishes.cancelled:
            wishes.cancelled = False
            self._cancel(self._ledger.keys if wishes.cancel is None else set(wishes.cancel))

    def _cancel(self, keys: set[str]) -> None:
        """Kill and write off jobs that nobody wants any more."""
        flying = [one for one in self._air.flying.values() if one.key in keys]
        self._engine.stop([one.key for one in flying])
        dropped = self._ready.drop(keys)
        dropped += [key for key, _ in self._air.suspects if key in keys]
        dropped += [key for _, key, _ in self._air.delayed if key in keys]
        self._air.suspects = deque(one for one in self._air.suspects if one[0] not in keys)
        self._air.delayed = [one for one in self._air.delayed if one[1] not in keys]
        said = Answer("cancelled", OUT_OF_TIME, "it was cancelled")
        for one in flying:
            self._air.flying.pop(one.number)
        with self._database.transaction():
            self._ledger.cut_short(flying, "cancelled", said)
            self._ledger.cancel([*dropped, *(one.key for one in flying)], self._ready.drop_later(keys), said)

    def _await_flying(self) -> None:
        """Wait for jobs in flight without writing: their answers are in the store."""
        while self._air.flying and not self._wishes.at_once:
            for one in self._engine.next_batch(0.5):
                self._air.land(one.number)

    def _end_flying(self) -> None:
        """Kill what is in flight; it is planned again."""
        flying = list(self._air.flying.values())
        if not flying:
            return
        self._engine.stop([one.key for one in flying])
        self._air.flying.clear()
        try:
            self._ledger.cut_short(flying, "lost", Answer("lost", message=SWEEP_ENDED))
        except WriteError:
            self._give_up("the database cannot be written", UNWRITABLE)

    def _end(self) -> SweepEnd:
        """Counts and the exit code."""
        states: Counter[str] = Counter()
        codes = set()
        for (state, code), count in self._ledger.counts(self._plan).items():
            states[state] += count
            if state not in ("done", "planned", "running") and code is not None:
                codes.add(code)
        if states["planned"] + states["running"]:
            return SweepEnd(states, self._code_over, self._why_over)
        asked(self._database.path)  # a wish that came too late is none of the next run's
        return SweepEnd(states, worst(codes))
