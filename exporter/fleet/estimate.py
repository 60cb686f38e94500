"""What a sweep would do, before it does anything: jobs by stage and class, seconds and bytes by earlier ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slide_export.core.progress import Progress, no_progress
from slide_export.pages.phrasing import count

from . import cas
from .sweep import SweepOptions, planning


@dataclass(frozen=True)
class Estimate:
    """What is to be done.

    Attributes:
        jobs: of each stage, and how many of them are done already.
        classes: how many jobs need what of a worker.
        seconds: of one slot, for the jobs that are left; None where no job of a stage was done before.
        bytes: that the store grows by.
    """

    jobs: Mapping[str, tuple[int, int]]
    classes: Mapping[str, int]
    seconds: float | None
    bytes: float | None


def estimate(path: Path, options: SweepOptions, step: Progress = no_progress) -> Estimate:
    """Plan without running.

    Raises:
        RequestError: as `sweep.planning` does.
    """
    with planning(path, options, step) as (database, made):
        committed = cas.open(made.store_url).keys()
        left = [job for job in made.jobs if job.key not in committed]
        rows = database.rows(
            "SELECT stage, avg(seconds), avg(coalesce(bytes, 0)) FROM job LEFT JOIN artifact ON output = sha256 "
            "WHERE state = 'done' GROUP BY stage"
        )
    means = {
        str(stage): (float(str(seconds)), float(str(size))) for stage, seconds, size in rows if seconds is not None
    }
    stages, new = made.count(), Counter(job.stage for job in left)
    known = all(stage in means for stage in new)
    return Estimate(
        {stage: (jobs, jobs - new[stage]) for stage, jobs in stages.items()},
        Counter(job.worker_class for job in left),
        sum(means[job.stage][0] for job in left) if known else None,
        sum(means[job.stage][1] for job in left) if known else None,
    )


def as_plain(found: Estimate) -> dict[str, Any]:
    """An estimate ready for JSON."""
    stages = {stage: {"jobs": jobs, "done": done} for stage, (jobs, done) in found.jobs.items()}
    return {"stages": stages, "classes": dict(found.classes), "seconds": found.seconds, "bytes": found.bytes}


def as_text(found: Estimate) -> str:
    """An estimate as lines of text."""
    lines = [f"{stage:10}  {count(jobs, 'job')}, {done} done" for stage, (jobs, done) in found.jobs.items()]
    lines += [f"{count(jobs, 'job')} for {worker_class}" for worker_class, jobs in found.classes.items()]
    if found.seconds is None or found.bytes is None:
        lines.append("no time is known yet: no job of some stage was done before")
    else:
        mib = found.bytes / (1 << 20)
        lines.append(f"about {found.seconds / 60:.1f} min on one slot, {mib:.1f} MiB in the store")
    return "\n".join(lines)
