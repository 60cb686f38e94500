"""Small sweeps for tests: simulated jobs of any behaviour, and the rows that they leave."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from slide_export.fleet import cas, resume
from slide_export.fleet.database import Database
from slide_export.fleet.drive import Drive, DriveOptions, SweepEnd
from slide_export.fleet.engine import Engine
from slide_export.fleet.job import Job
from slide_export.fleet.plan import Limits
from slide_export.fleet.stages import STAGES
from slide_export.fleet.wishes import Wishes


def job(
    name: str,
    *needs: Job,
    offer: Mapping[str, float] | None = None,
    stage: str = "simulated",
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> Job:
    """One simulated job."""
    keys = tuple(one.key for one in needs)
    return Job.of(
        stage, STAGES[stage].version, name, offer or {"slot": 1}, options={**options, "name": name},
        inputs={"jobs": list(keys)}, environment=environment or {}, needs=keys,
    )  # fmt: skip


def sweep(
    path: Path,
    jobs: Iterable[Job],
    engine: Engine,
    url: str | None = None,
    limits: Limits | None = None,
    retry: Iterable[str] = (),
    memory_gib: float = 0.0,
    **options: Any,
) -> SweepEnd:
    """Run jobs to their end, or resume them."""
    limits = limits or Limits(timeout_s=60)

    def order(_stage: str, _spec: str) -> dict[str, Any]:
        return {"sources": {}, "store": url, "timeout_s": limits.timeout_s, "memory_gib": memory_gib}

    with Database.claimed(path) as database:
        plan = database.add_plan("simulated", "0" * 64)
        database.add_jobs(plan, jobs)
        store = None if url is None else cas.open(url)
        planned = resume.reconcile(database, plan, store, tuple(retry))
        wishes = options.pop("wishes", None) or Wishes()
        return Drive(database, (plan, limits), engine, store, order, planned, wishes, DriveOptions(**options)).run()


def order(job: Job, url: str | None, **more: Any) -> str:
    """What a worker is told of one job that needs no other."""
    told = {"key": job.key, "stage": job.stage, "class": json.loads(job.worker_class), "spec": json.loads(job.spec)}
    told |= {"outputs": {}, "passing": []}
    return json.dumps({**told, "sources": {}, "store": url, "timeout_s": 60, "memory_gib": 0, **more})


def rows(path: Path) -> dict[str, tuple[str, object]]:
    """State and result by subject: what two sweeps have to agree in."""
    with Database.read_only(path) as database:
        return {str(row[0]): (str(row[1]), row[2]) for row in database.rows("SELECT subject, state, result FROM job")}


def attempts(path: Path) -> dict[str, list[str | None]]:
    """Outcomes of the attempts at each job, in their order."""
    with Database.read_only(path) as database:
        found: dict[str, list[str | None]] = {}
        for subject, outcome in database.rows("SELECT subject, outcome FROM attempt JOIN job ON key = job ORDER BY id"):
            found.setdefault(str(subject), []).append(None if outcome is None else str(outcome))
    return found
