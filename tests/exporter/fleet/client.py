"""A sweep of simulated jobs as a program of its own, for tests that kill it.

python -m tests.exporter.fleet.client DATABASE STORE JOBS SECONDS [SCHEDULER]
"""

import sys
from contextlib import AbstractContextManager
from pathlib import Path

from slide_export.cli.sweep import _wishes
from slide_export.fleet import clusters
from slide_export.fleet.engine import Engine
from slide_export.fleet.job import Job
from tests.exporter.fleet.sweeps import job, sweep

SLOTS = 2


def jobs(count: int, seconds: float) -> list[Job]:
    """A pair of jobs each: one, and one that needs it; some are refused."""
    found: list[Job] = []
    for number in range(count // 2):
        first = job(f"first {number}", seconds=seconds, refused=0.1)
        found += [first, job(f"second {number}", first, seconds=seconds)]
    return found


def main(database: str, store: str, count: str, seconds: str, scheduler: str = "") -> None:
    """Run or resume it."""
    opened: AbstractContextManager[Engine]
    opened = clusters.remote(scheduler, None) if scheduler else clusters.embedded(SLOTS)
    with opened as engine, _wishes() as wishes:
        print("up", flush=True)
        end = sweep(Path(database), jobs(int(count), float(seconds)), engine, store, wishes=wishes)
    print(dict(end.states), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
