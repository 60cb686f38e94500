"""A sweep's database -> what a report says: artifacts with their proofs, accuracies and sittings; failures; counts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .database import Database
from .pareto import Candidate, Interval, front

P50 = "p50_ms "
"""Before the key of an export, in the name of a measure of a sitting."""
NUMBERS = re.compile(r"\d+(?:\.\d+)?")


@dataclass
class ArtifactRow:
    """One artifact of the plan.

    Attributes:
        state, message: of its export.
        verified: state of each proof that was repeated elsewhere.
        accuracy: the report of its evaluation; None where there is none yet, or none was asked for.
        accuracy_state: of that: "refused" where it loses too much.
    """

    key: str
    subject: str
    state: str
    message: str
    target: str
    precision: str
    size_mib: float | None = None
    verified: list[str] = field(default_factory=list)
    accuracy: Mapping[str, Any] | None = None
    accuracy_state: str = ""

    @property
    def loss(self) -> float | None:
        """What the artifact loses: points of top-1, or of what its task measures."""
        return None if self.accuracy is None else self.accuracy.get("drop")

    @property
    def fit(self) -> bool:
        """Whether it was proved, and nothing that was asked of it failed."""
        return self.state == "done" and self.accuracy_state in ("", "done") and not {*self.verified} - {"done"}


@dataclass(frozen=True)
class Run:
    """One artifact in one sitting.

    Attributes:
        dominated_by: of the artifacts that are fit; None on the front, and for one that is not fit.
    """

    artifact: ArtifactRow
    p50_ms: Interval
    dominated_by: ArtifactRow | None = None

    @property
    def on_front(self) -> bool:
        """Whether it is worth a choice."""
        return self.artifact.fit and self.dominated_by is None


@dataclass(frozen=True)
class Sitting:
    """Artifacts that were measured beside each other on one machine.

    Attributes:
        device: as the machine calls itself, with its processor.
        warnings: what makes it doubtful.
    """

    subject: str
    device: str
    runs: tuple[Run, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Failures:
    """Jobs that ended alike: of one stage, with one message but for its numbers."""

    stage: str
    state: str
    message: str
    subjects: tuple[str, ...]


@dataclass(frozen=True)
class Poison:
    """A job that was given up, and what is known of its ends."""

    stage: str
    subject: str
    message: str
    attempts: tuple[tuple[str, str, str], ...]  # outcome, worker, last words


@dataclass(frozen=True)
class SweepRows:
    """All that a report says.

    Attributes:
        counts: jobs by stage and state, in the order of the plan.
        seconds: by stage, of all jobs that are done.
        attempts: by outcome.
    """

    artifacts: tuple[ArtifactRow, ...]
    sittings: tuple[Sitting, ...]
    failures: tuple[Failures, ...]
    poison: tuple[Poison, ...]
    findings: tuple[tuple[str, str], ...]
    counts: Mapping[str, Mapping[str, int]]
    seconds: Mapping[str, float]
    attempts: Mapping[str, int]


def read(path: Path) -> SweepRows:
    """What the database says of the plan that was run last.

    Raises:
        RequestError: there is no such database.
    """
    with Database.read_only(path) as database:
        plan = (database.last_plan() or (0, "", ""))[0]
        artifacts = _artifacts(database, plan)
        counts: dict[str, dict[str, int]] = {}
        seconds: dict[str, float] = {}
        for stage, state, count, spent in _of_plan(
            database, plan, "stage, state, count(*), total(seconds)", "GROUP BY stage, state ORDER BY min(place)"
        ):
            counts.setdefault(stage, {})[state] = count
            seconds[stage] = seconds.get(stage, 0.0) + spent
        attempts = database.rows(
            "SELECT coalesce(outcome, 'not ended'), count(*) FROM attempt JOIN plan_job USING(job) WHERE plan = ? "
            "GROUP BY outcome ORDER BY 2 DESC",
            (plan,),
        )
        return SweepRows(
            tuple(artifacts.values()),
            _sittings(database, plan, artifacts),
            _failures(database, plan),
            _poison(database, plan),
            tuple(_of_plan(database, plan, "subject, finding.message", "", "JOIN finding ON finding.job = key")),
            counts,
            seconds,
            {str(outcome): int(str(count)) for outcome, count in attempts},
        )


def _of_plan(database: Database, plan: int, what: str, rest: str = "ORDER BY place", join: str = "") -> list[Any]:
    """Columns of a plan's jobs."""
    query = f"SELECT {what} FROM plan_job JOIN job ON key = plan_job.job {join} WHERE plan = ? {rest}"
    return list(database.rows(query, (plan,)))


def _artifacts(database: Database, plan: int) -> dict[str, ArtifactRow]:
    """Artifacts by the key of their export, in the order of the plan."""
    found: dict[str, ArtifactRow] = {}
    columns = "key, subject, state, coalesce(message, ''), spec, measure.value"
    sizes = "LEFT JOIN measure ON measure.job = key AND measure.name = 'size_mib'"
    for key, subject, state, message, spec, size in _of_plan(
        database, plan, columns, "AND stage = 'export' ORDER BY place", sizes
    ):
        options = json.loads(spec)["options"]
        precision = options.get("export", {}).get("precision", "fp32")
        found[key] = ArtifactRow(key, subject, state, message, options["target"], precision, size)
    needs = "JOIN edge ON edge.job = key"
    for needed, state in _of_plan(database, plan, "edge.needs, state", "AND stage = 'verify' ORDER BY place", needs):
        found[needed].verified.append(state)
    # A merge needs its shards' counts, each of which needs the artifact.
    through = "JOIN edge AS counted ON counted.job = key JOIN edge ON edge.job = counted.needs"
    columns = "DISTINCT edge.needs, state, result"
    for needed, state, result in _of_plan(database, plan, columns, "AND stage = 'merge'", through):
        if needed in found:
            found[needed].accuracy_state = state
            found[needed].accuracy = None if result is None else json.loads(result)
    return found


def _sittings(database: Database, plan: int, artifacts: Mapping[str, ArtifactRow]) -> tuple[Sitting, ...]:
    sittings = []
    for key, subject, result in _of_plan(
        database, plan, "key, subject, result", "AND stage = 'bench' AND state = 'done' ORDER BY place"
    ):
        measured = database.rows("SELECT name, value, low, high FROM measure WHERE job = ?", (key,))
        times = {str(name): tuple(map(_number, numbers)) for name, *numbers in measured}
        runs = [
            Run(artifact, Interval(*times[P50 + export]))
            for export, artifact in artifacts.items()
            if P50 + export in times
        ]
        if runs:
            told = (json.loads(result) or {}).get("result", {})
            sittings.append(Sitting(subject, _device(told), _judged(runs), _doubts(told)))
    return tuple(sittings)


def _number(value: object) -> float:
    return float(str(value))


def _device(result: Mapping[str, Any]) -> str:
    environment = result.get("environment", {})
    named = [str(environment[name]) for name in ("device", "cpu") if environment.get(name)]
    return ", ".join(dict.fromkeys(named)) or "a machine that tells nothing of itself"


def _doubts(result: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(one) for one in result.get("environment", {}).get("warnings", ()))


def _judged(runs: Sequence[Run]) -> tuple[Run, ...]:
    """The runs, fastest first, each with what dominates it among those that are fit."""
    ordered = sorted(runs, key=lambda run: run.p50_ms.value)
    fit = [run for run in ordered if run.artifact.fit and run.artifact.size_mib is not None]
    better = front([Candidate(run.p50_ms, run.artifact.loss, run.artifact.size_mib or 0.0) for run in fit])
    found = {
        run.artifact.key: None if index is None else fit[index].artifact for run, index in zip(fit, better, strict=True)
    }
    return tuple(Run(run.artifact, run.p50_ms, found.get(run.artifact.key)) for run in ordered)


def _failures(database: Database, plan: int) -> tuple[Failures, ...]:
    """Jobs without an output by what they say, the most frequent first; numbers in the words tell none apart."""
    groups: dict[tuple[str, str, str], tuple[str, list[str]]] = {}
    for stage, state, message, subject in _of_plan(
        database,
        plan,
        "stage, state, coalesce(message, ''), subject",
        "AND state IN ('refused', 'failed', 'blocked', 'cancelled') ORDER BY place",
    ):
        alike = NUMBERS.sub("#", message.replace(subject, ""))
        groups.setdefault((stage, state, alike), (message, []))[1].append(subject)
    found = [Failures(stage, state, said, tuple(who)) for (stage, state, _), (said, who) in groups.items()]
    return tuple(sorted(found, key=lambda one: (one.state == "blocked", -len(one.subjects))))


def _poison(database: Database, plan: int) -> tuple[Poison, ...]:
    jobs = _of_plan(database, plan, "key, stage, subject, coalesce(message, '')", "AND state = 'poison' ORDER BY place")
    found = []
    for key, stage, subject, message in jobs:
        attempts = database.rows(
            "SELECT coalesce(outcome, 'not ended'), coalesce(worker, ''), coalesce(message, '') FROM attempt "
            "WHERE job = ? ORDER BY id",
            (key,),
        )
        found.append(Poison(stage, subject, message, tuple((str(a), str(b), str(c)) for a, b, c in attempts)))
    return tuple(found)
