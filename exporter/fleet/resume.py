"""What earlier runs came to: the artifact store is asked first, then the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from slide_export.core import typed_json

from .cas import Store
from .database import Database
from .job import Answer, State

KEPT = ("refused", "failed", "poison", "cancelled")
COMMITTED = {"done": True, "refused": False}
"""States of jobs whose answers are in the store, and whether they have an output."""
READERS = 16  # threads that ask the store


@dataclass(frozen=True)
class PlannedJobs:
    """The jobs of a plan as the database has them, in the plan's order.

    Attributes:
        classes, stages, states: by key.
        needs: keys that a job needs.
        outputs: sha256 of what was made, by key.
        settled: jobs that are done or never will be, and whether they are done.
    """

    classes: Mapping[str, str]
    stages: Mapping[str, str]
    states: Mapping[str, str]
    needs: Mapping[str, tuple[str, ...]]
    outputs: dict[str, str]
    settled: Mapping[str, bool]


def load(database: Database, plan: int) -> PlannedJobs:
    """The jobs of a plan.

    Tables are read as they lie and put in order here: looking up one key after the other costs many times as much.
    """
    order = [str(job) for (job,) in database.rows("SELECT job FROM plan_job WHERE plan = ? ORDER BY place", (plan,))]
    one = {key: key for key in order}  # one text of each, however often it is named
    found: dict[str, tuple[str, str, str, str | None]] = {}
    for key, *told in database.each("SELECT key, class, stage, state, output FROM job"):
        if key in one:
            *named, output = told
            worker_class, stage, state = (one.setdefault(str(name), str(name)) for name in named)
            found[str(key)] = (worker_class, stage, state, None if output is None else str(output))
    needs: dict[str, list[str]] = {}
    for job, need in database.each("SELECT job, needs FROM edge"):
        if job in one:
            needs.setdefault(one[str(job)], []).append(one[str(need)])
    rows = [(key, *found[key]) for key in order]
    return PlannedJobs(
        {key: worker_class for key, worker_class, *_ in rows},
        {key: stage for key, _, stage, *_ in rows},
        {key: state for key, _, _, state, _ in rows},
        {key: tuple(sorted(needed)) for key, needed in needs.items()},
        {key: output for key, *_, output in rows if output is not None},
        {},
    )


def reconcile(database: Database, plan: int, store: Store | None, retry: Collection[str] = ()) -> PlannedJobs:
    """Bring the database in line with the store; the jobs of a plan, with what is settled.

    Args:
        retry: final states that are tried again.
    """
    jobs = load(database, plan)
    committed = None if store is None else store.keys()
    found = {} if store is None or committed is None else _unknown(store, jobs.states, committed, retry)
    settled: dict[str, bool] = {}
    again = []
    for key, state in jobs.states.items():
        if committed is not None and key in committed:
            if state in COMMITTED and state not in retry:
                settled[key] = COMMITTED[state]
            elif key in found:
                settled[key] = found[key].outcome == "done"
            else:
                again.append(key)
        elif state == "done" and committed is None:
            settled[key] = True
        elif state in KEPT and state not in retry:
            settled[key] = False
        elif state != "planned":
            again.append(key)
    again += _removed(jobs, settled, found, store)
    _write(database, again, found)
    outputs = {key: answer.output for key, answer in found.items() if answer.output is not None}
    return replace(jobs, outputs={**jobs.outputs, **outputs}, settled=settled)


def _unknown(
    store: Store, states: Mapping[str, str], committed: Collection[str], retry: Collection[str]
) -> dict[str, Answer]:
    """Answers that the database does not have yet, read several at a time: each is a request to a store elsewhere."""
    keys = [key for key, state in states.items() if key in committed and state not in COMMITTED and state not in retry]
    with ThreadPoolExecutor(READERS) as pool:
        told = zip(keys, pool.map(store.answer, keys), strict=True)
        return {key: typed_json.read(Answer, one) for key, one in told if one is not None}


def _removed(
    jobs: PlannedJobs, settled: dict[str, bool], found: Mapping[str, Answer], store: Store | None
) -> list[str]:
    """Jobs that are done and whose output is gone, although a job that is not done needs it; no longer settled."""
    if store is None:
        return []
    removed: list[str] = []
    reading = [job for job in jobs.needs if job not in settled]
    with ThreadPoolExecutor(READERS) as pool:
        while reading:  # what is made again may need what is gone too
            done = {need for job in reading for need in jobs.needs.get(job, ()) if settled.get(need)}
            outputs = {key: found[key].output if key in found else jobs.outputs.get(key) for key in done}
            wanted = {key: output for key, output in outputs.items() if output is not None}
            there = pool.map(store.has, wanted.values())
            reading = [key for key, has in zip(wanted, there, strict=True) if not has]
            removed += reading
            for key in reading:
                del settled[key]
    return removed


def _write(database: Database, again: Collection[str], found: Mapping[str, Answer]) -> None:
    with database.transaction() as db:
        db.execute("UPDATE attempt SET outcome = 'lost' WHERE outcome IS NULL")
        db.executemany(
            "UPDATE job SET state = 'planned', exit_code = NULL, message = NULL WHERE key = ?",
            [(key,) for key in again],
        )
        settled: list[tuple[str, State, Answer | None]] = [
            (key, "done" if answer.outcome == "done" else "refused", answer) for key, answer in found.items()
        ]
        database.settle(db, settled)


def specs(database: Database, keys: Collection[str]) -> dict[str, tuple[str, str]]:
    """Stage and spec of jobs, by key."""
    marks = ",".join("?" * len(keys))
    rows = database.rows(f"SELECT key, stage, spec FROM job WHERE key IN ({marks})", tuple(keys))
    return {str(key): (str(stage), str(spec)) for key, stage, spec in rows}
