"""What came of jobs, written down: in the database, in what is ready next, and in the store, where some outputs go."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from . import resume
from .cas import Store
from .database import Database
from .flight import Flying
from .job import Answer, Outcome, State
from .ready import ReadyJobs
from .resume import PlannedJobs
from .stages import STAGES
from .verdict import Verdict

_encode = json.JSONEncoder(allow_nan=False).encode


class Ledger:
    """The jobs of one run: which can run, and what is known of those that did.

    Args:
        told: told of each settled job: state, key, message.

    Attributes:
        ready: the jobs that can run now.
    """

    def __init__(
        self, database: Database, store: Store | None, jobs: PlannedJobs, told: Callable[[str, str, str], None]
    ) -> None:
        self._database, self._store, self._jobs, self._told = database, store, jobs, told
        self._blocked: list[tuple[str, str]] = []
        self._readers = Counter(need for key, needs in jobs.needs.items() for need in needs if key not in jobs.settled)
        self.ready = ReadyJobs(
            jobs.classes,
            jobs.needs,
            lenient={key for key, stage in jobs.stages.items() if STAGES[stage].lenient},
            settled=jobs.settled,
            blocked=lambda job, need: self._blocked.append((job, need)),
        )
        self.write([])  # what is blocked from the start

    @property
    def keys(self) -> set[str]:
        """Keys of all jobs."""
        return set(self._jobs.classes)

    def begin(self, keys: list[str]) -> range:
        """Write down that jobs are handed over; the numbers of the attempts."""
        return self._database.begin(keys)

    def orders(self, keys: list[str], order: Callable[[str, str], dict[str, Any]]) -> dict[str, str]:
        """What a worker is told of jobs, by key; `order` makes what is no part of the job itself."""
        found = {}
        for key, (stage, spec) in resume.specs(self._database, keys).items():
            outputs = {need: self._jobs.outputs.get(need) for need in self._jobs.needs.get(key, ())}
            passing = [need for need in outputs if STAGES[self._jobs.stages[need]].ephemeral]
            more = _encode({"outputs": outputs, "passing": passing, **order(stage, spec)})
            told = f'"key":"{key}","stage":"{stage}","class":{self._jobs.classes[key]}'
            found[key] = f'{{{told},"spec":{spec},{more[1:]}'
        return found

    def write(self, verdicts: list[tuple[Flying, Verdict]]) -> None:
        """Write ends in one transaction, then settle them; what they block is written in the next."""
        with self._database.transaction() as db:
            self._database.end(db, [(one.number, v.outcome, v.worker, v.answer) for one, v in verdicts])
            self._database.settle(
                db, [(one.key, v.state or "planned", v.answer if v.state else None) for one, v in verdicts]
            )
        final = [(flying.key, verdict) for flying, verdict in verdicts if verdict.state is not None]
        for key, verdict in final:
            if verdict.answer is not None and verdict.answer.output is not None:
                self._jobs.outputs[key] = verdict.answer.output
        self.ready.settle_all([(key, verdict.state == "done") for key, verdict in final])
        self._forget([key for key, _ in final])
        for key, verdict in final:
            self._told(str(verdict.state), key, verdict.answer.message if verdict.answer else "")
        self._write_blocked()

    def block(self, keys: list[str], said: Answer) -> None:
        """Settle jobs that cannot run now, and what needs them; their inputs stay for when the sweep goes on."""
        self._write_off(keys, (), "blocked", said)
        self._write_blocked()

    def cancel(self, keys: list[str], later: Collection[str], said: Answer) -> None:
        """Settle jobs that nobody wants any more, and what needs them.

        Args:
            later: more of them, that `ready.drop_later` gave.
        """
        self._write_off(keys, later, "cancelled", said)
        self._forget([*keys, *later])
        self._write_blocked()

    def cut_short(self, flying: list[Flying], outcome: Outcome, said: Answer) -> None:
        """Write down that attempts were ended before they came back; their jobs are planned again."""
        with self._database.transaction() as db:
            self._database.end(db, [(one.number, outcome, "", said) for one in flying])
            self._database.settle(db, [(one.key, "planned", None) for one in flying])

    def note(self, name: str, value: object) -> None:
        """Keep a value for `status`."""
        self._database.note(name, value)

    def counts(self, plan: int) -> Mapping[tuple[str, int | None], int]:
        """How many jobs of a plan are in each state, with each exit code."""
        rows = self._database.rows(
            "SELECT state, exit_code, count(*) FROM plan_job JOIN job ON job.key = job WHERE plan = ? GROUP BY 1, 2",
            (plan,),
        )
        return {(str(state), None if code is None else int(str(code))): int(str(count)) for state, code, count in rows}

    def _write_off(self, keys: list[str], later: Collection[str], state: State, said: Answer) -> None:
        with self._database.transaction() as db:
            self._database.settle(db, [(key, state, said) for key in (*keys, *later)])
        self.ready.settle_all([(key, False) for key in keys])

    def _write_blocked(self) -> None:
        while self._blocked:
            blocked, self._blocked = self._blocked, []
            with self._database.transaction() as db:
                for key, need in blocked:
                    db.execute(
                        "UPDATE job SET state = 'blocked', message = 'it needs ' || (SELECT stage || ' of ' || subject "
                        "FROM job WHERE key = ?) || ', which has no output' WHERE key = ?",
                        (need, key),
                    )
            self._forget([key for key, _ in blocked])

    def _forget(self, settled: list[str]) -> None:
        """Remove outputs that were for jobs which are all settled now, these jobs' own among them."""
        for key in settled:
            needs = self._jobs.needs.get(key, ())
            self._readers.subtract(needs)
            for made in (key, *needs):
                output = self._jobs.outputs.get(made)
                passing = STAGES[self._jobs.stages[made]].ephemeral
                if passing and not self._readers[made] and output is not None and self._store is not None:
                    self._store.remove(output)
