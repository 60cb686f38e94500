"""A sweep of simulated jobs as a program of its own, for tests that kill it.

python -m tests.exporter.fleet.client DATABASE STORE JOBS SECONDS [SCHEDULER]
python -m tests.exporter.fleet.client DATABASE STORE JOBS SECONDS children
"""

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from slide_export.cli.sweep import _wishes
from slide_export.fleet import clusters
from slide_export.fleet.engine import Engine
from slide_export.fleet.job import Job
from tests.exporter.fleet.sweeps import job, sweep

SLOTS = 2


def jobs(count: int, seconds: float, **options: Any) -> list[Job]:
    """A pair of jobs each: one, and one that needs it; some are refused."""
    found: list[Job] = []
    for number in range(count // 2):
        first = job(f"first {number}", seconds=seconds, refused=0.1, **options)
        found += [first, job(f"second {number}", first, seconds=seconds, **options)]
    return found


def main(database: str, store: str, count: str, seconds: str, scheduler: str = "") -> None:
    """Run or resume it; with `children` in the place of a scheduler each job is a process of its own."""
    apart = {"child": True} if scheduler == "children" else {}
    opened: AbstractContextManager[Engine]
    opened = clusters.remote(scheduler, None) if scheduler and not apart else clusters.embedded(SLOTS)
    with opened as engine, _wishes() as wishes:
        print("up", flush=True)
        end = sweep(Path(database), jobs(int(count), float(seconds), **apart), engine, store, wishes=wishes)
    print(dict(end.states), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
