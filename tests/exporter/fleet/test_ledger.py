"""What is written of jobs, what a worker is told, and which outputs are removed with their last reader."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slide_export.core.errors import OUT_OF_TIME
from slide_export.fleet import resume, stages
from slide_export.fleet.database import Database
from slide_export.fleet.flight import Flying
from slide_export.fleet.job import Answer, Job, State
from slide_export.fleet.ledger import Ledger
from slide_export.fleet.stages import Stage
from slide_export.fleet.verdict import History, Verdict

from .sweeps import job

PASSING = "passing"
MADE = job("made", stage="simulated")
SHARD = Job.of(PASSING, 1, "shard", {"slot": 1}, options={}, inputs={}, environment={})
ONE, TWO = job("one", SHARD), job("two", SHARD)
AFTER = job("after", ONE)
JOBS = (MADE, SHARD, ONE, TWO, AFTER)
CANCELLED = Answer("cancelled", OUT_OF_TIME, "it was cancelled")


class _Store:
    """Knows what was removed."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    def remove(self, sha256: str) -> None:
        self.removed.append(sha256)


class _Sweep:
    """A ledger of `JOBS` with what it told."""

    def __init__(self, database: Database) -> None:
        self.database, self.store = database, _Store()
        self.said: list[tuple[str, str, str]] = []
        self.plan = database.add_plan("text", "0" * 64)
        database.add_jobs(self.plan, JOBS)
        planned = resume.reconcile(database, self.plan, None)
        told = lambda *words: self.said.append(words)  # noqa: E731
        self.ledger = Ledger(database, self.store, planned, told)  # type: ignore[arg-type]

    def settle(self, one: Job, state: State | None, output: str | None = None) -> None:
        """Run a job to its end."""
        if one.key in (ready := self._ready(one)):
            ready.remove(one.key)
            for key in ready:
                self.ledger.ready.give_back(key)
        (number,) = self.ledger.begin([one.key])
        answer = Answer("done" if state == "done" else "failed", output=output, message=f"{one.subject} ended")
        verdict = Verdict(answer.outcome, state, History(), answer, "a worker")  # type: ignore[arg-type]
        self.ledger.write([(Flying(number, one.key, one.worker_class), verdict)])

    def take(self, *jobs: Job) -> list[str]:
        """Jobs that are ready, and then no longer."""
        return self.ledger.ready.drop({one.key for one in jobs})

    def states(self) -> dict[str, str]:
        """State of each job by its subject."""
        return {str(name): str(state) for name, state in self.database.rows("SELECT subject, state FROM job")}

    def _ready(self, one: Job) -> list[str]:
        ready = self.ledger.ready
        return ready.take(one.worker_class, ready.waiting(one.worker_class))


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Sweep]:
    monkeypatch.setitem(stages.STAGES, PASSING, Stage(1, kind="reference", ephemeral=True))
    with Database.claimed(tmp_path / "fleet.db") as database:
        yield _Sweep(database)


def test_an_output_that_passes_is_removed_with_its_last_reader(sweep: _Sweep) -> None:
    sweep.settle(MADE, "done", "kept")
    sweep.settle(SHARD, "done", "reference")
    sweep.settle(ONE, "done")
    assert sweep.store.removed == []
    sweep.settle(TWO, "failed")
    assert sweep.store.removed == ["reference"]


def test_a_reader_that_runs_again_still_needs_it(sweep: _Sweep) -> None:
    sweep.settle(SHARD, "done", "reference")
    sweep.settle(ONE, "done")
    sweep.settle(TWO, None)
    assert sweep.store.removed == []
    assert sweep.states()["two"] == "planned"


def test_a_cancelled_reader_needs_it_no_more(sweep: _Sweep) -> None:
    sweep.settle(SHARD, "done", "reference")
    sweep.ledger.cancel(sweep.take(TWO), (), CANCELLED)
    assert sweep.store.removed == []
    sweep.settle(ONE, "done")
    assert sweep.store.removed == ["reference"]


def test_with_all_readers_cancelled_nothing_needs_it(sweep: _Sweep) -> None:
    sweep.settle(SHARD, "done", "reference")
    sweep.ledger.cancel(sweep.take(ONE, TWO), (), CANCELLED)
    assert sweep.store.removed == ["reference"]
    states = sweep.states()
    assert (states["one"], states["two"], states["after"]) == ("cancelled", "cancelled", "blocked")


def test_what_is_made_for_jobs_that_were_cancelled_meanwhile_is_not_kept(sweep: _Sweep) -> None:
    sweep.ledger.cancel([], sweep.ledger.ready.drop_later([ONE.key, TWO.key]), CANCELLED)
    assert sweep.states()["one"] == sweep.states()["two"] == "cancelled"
    sweep.settle(SHARD, "done", "reference")
    assert sweep.store.removed == ["reference"]
    assert sweep.states()["one"] == "cancelled"


def test_a_job_that_waits_for_a_worker_keeps_its_inputs(sweep: _Sweep) -> None:
    sweep.settle(SHARD, "done", "reference")
    sweep.ledger.block(sweep.take(ONE, TWO), Answer("failed", 3, "no worker offers it"))
    assert sweep.store.removed == []
    assert sweep.states()["one"] == "blocked"


def test_what_needs_a_job_without_an_output_is_blocked_and_says_by_which(sweep: _Sweep) -> None:
    sweep.settle(SHARD, "refused")
    assert sweep.states() == {
        "made": "planned",
        "shard": "refused",
        "one": "blocked",
        "two": "blocked",
        "after": "blocked",
    }
    said = dict(sweep.database.rows("SELECT subject, message FROM job WHERE state = 'blocked'"))
    assert said["one"] == f"it needs {PASSING} of shard, which has no output"
    assert said["after"] == "it needs simulated of one, which has no output"
    assert sweep.ledger.counts(sweep.plan) == {("planned", None): 1, ("refused", 0): 1, ("blocked", None): 3}
    assert sweep.said == [("refused", SHARD.key, "shard ended")]


def test_an_attempt_that_was_cut_short_leaves_its_job_planned(sweep: _Sweep) -> None:
    (number,) = sweep.ledger.begin(sweep.take(MADE))
    assert sweep.states()["made"] == "running"
    flying = [Flying(number, MADE.key, MADE.worker_class)]
    sweep.ledger.cut_short(flying, "cancelled", Answer("cancelled", OUT_OF_TIME, "it was interrupted"))
    assert sweep.states()["made"] == "planned"
    assert sweep.database.rows("SELECT outcome, message FROM attempt") == [("cancelled", "it was interrupted")]


def test_a_worker_is_told_the_job_its_inputs_and_what_the_sweep_adds(sweep: _Sweep) -> None:
    sweep.settle(SHARD, "done", "reference")
    asked: list[tuple[str, str]] = []

    def order(stage: str, spec: str) -> dict[str, Any]:
        asked.append((stage, spec))
        return {"timeout_s": 60, "store": None}

    told = json.loads(sweep.ledger.orders([ONE.key], order)[ONE.key])
    assert told == {
        "key": ONE.key,
        "stage": "simulated",
        "class": {"slot": 1},
        "spec": json.loads(ONE.spec),
        "outputs": {SHARD.key: "reference"},
        "passing": [SHARD.key],
        "timeout_s": 60,
        "store": None,
    }
    assert asked == [("simulated", ONE.spec)]
    assert sweep.ledger.keys == {one.key for one in JOBS}
