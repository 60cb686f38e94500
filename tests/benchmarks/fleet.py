"""What a sweep costs beside its work: simulated jobs, which do nothing, without an engine and with dask's workers.

    python -m tests.benchmarks.fleet                                 # the table of RESULTS.md
    python -m tests.benchmarks.fleet --jobs 1000 10000 --workers 0 2
    python -m tests.benchmarks.fleet --within 8                      # dask, its worker of 8 slots in this process
    python -m tests.benchmarks.fleet --stored                        # with a directory as the artifact store

A checkpoint is 33 jobs (digest, 4 exports, each with verify, 4 shards, merge, bench); one in a hundred is refused. Each
row is a process of its own. CPU seconds are of all its processes; memory is the client's.
"""

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

from slide_export.fleet import clusters, simulated
from slide_export.fleet.engine import Engine, InlineEngine
from slide_export.fleet.placer import DaskEngine, offered
from tests.exporter.fleet.sweeps import sweep

OF_CHECKPOINT = 33
MIB = 1 << 20
HEAD = "| jobs | workers | wall s | CPU ms a job, all processes | client peak MiB | database MiB | again, s | load |"


@contextmanager
def within(slots: int) -> Iterator[DaskEngine]:
    """A scheduler and one worker in this process: what dask itself costs, without processes that wait for a core."""
    import dask  # inside: a row without an engine is of a process without it
    from distributed import Client, LocalCluster

    with (
        dask.config.set(clusters.NO_RETRIES),
        LocalCluster(
            n_workers=1, threads_per_worker=slots, processes=False,
            dashboard_address="127.0.0.1:0", worker_dashboard_address="127.0.0.1:0", memory_limit=0,
            resources=offered(slots, 1.0, {}, ()), silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        yield DaskEngine(client)


def engine_of(workers: int, slots: int) -> AbstractContextManager[Engine]:
    """The engine that a row is measured with."""
    if slots:
        return within(slots)
    return clusters.embedded(workers) if workers else closing(InlineEngine())


def measure(jobs: int, workers: int, slots: int, *, stored: bool) -> dict[str, Any]:
    """One sweep in this process, and the same again once it is finished."""
    checkpoints = max(1, round(jobs / OF_CHECKPOINT))
    with tempfile.TemporaryDirectory(prefix="slide-export-fleet-") as place:
        database, url = Path(place) / "fleet.db", str(Path(place) / "store") if stored else None
        start = time.perf_counter()
        with engine_of(workers, slots) as opened:
            end = sweep(database, simulated.jobs(checkpoints), opened, url)
        wall_s = time.perf_counter() - start
        again = time.perf_counter()
        sweep(database, simulated.jobs(checkpoints), InlineEngine(), url)
        again_s = time.perf_counter() - again
        size_mib = database.stat().st_size / MIB
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(one.ru_utime + one.ru_stime for one in usage)
    return {
        "jobs": sum(end.states.values()),
        "workers": f"{slots} slots within" if slots else workers or "none",
        "wall_s": wall_s,
        "cpu_ms": 1000 * cpu_s / sum(end.states.values()),
        "peak_mib": usage[0].ru_maxrss / 1024,
        "database_mib": size_mib,
        "again_s": again_s,
        "load": os.getloadavg()[0],
    }


def row(found: dict[str, Any]) -> str:
    """One line of the table."""
    return (
        f"| {found['jobs']:,} | {found['workers']} | {found['wall_s']:.1f} | {found['cpu_ms']:.2f} | "
        f"{found['peak_mib']:.0f} | {found['database_mib']:.1f} | {found['again_s']:.2f} | {found['load']:.1f} |"
    )


def main() -> None:
    """Measure every pair in a process of its own, or one in this."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[0])
    parser.add_argument("--within", type=int, default=0, metavar="SLOTS")
    parser.add_argument("--stored", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.jobs[0], asked.workers[0], asked.within, stored=asked.stored), allow_nan=False))
        return
    print(f"{HEAD}\n|{' --- |' * HEAD.count(' |')}")
    for workers in asked.workers:
        for jobs in asked.jobs:
            command = [sys.executable, "-m", "tests.benchmarks.fleet", "--one", "--jobs", str(jobs)]
            command += [
                "--workers",
                str(workers),
                "--within",
                str(asked.within),
                *(["--stored"] if asked.stored else []),
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            print(row(json.loads(done.stdout.splitlines()[-1])), flush=True)


if __name__ == "__main__":
    main()
