"""One sweep whose client is killed 10 times, whose workers 10 times, and whose scheduler 5 times, at random moments.

After it every job has the row that an undisturbed sweep gives it, and at most the slots of each kill ran twice.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import psutil

from slide_export.fleet import simulated
from slide_export.fleet.engine import InlineEngine
from tests.exporter.fleet import processes
from tests.exporter.fleet.client import SLOTS, jobs
from tests.exporter.fleet.sweeps import attempts, rows, sweep

from .outcome import Outcome

NAME = "fleets"
CASES = 1
KILLS = {"client": 10, "worker": 10, "scheduler": 5}
JOBS, SECONDS = 700, 0.3
BETWEEN_S = (0.3, 2.0)
END_S = 300.0
GONE_S = 2.0


def run(seed: int, index: int, room: Path) -> Outcome:
    """One sweep under all kills, against one without."""
    return killed(random.Random(f"{seed}:{index}"), room, KILLS, JOBS)


def killed(chance: random.Random, room: Path, kills: Mapping[str, int], count: int) -> Outcome:
    """A sweep of so many jobs under kills, against one without."""
    faults = [name for name, times in kills.items() for _ in range(times)]
    chance.shuffle(faults)
    port, path = processes.free_port(), room / "fleet.db"
    command = [*processes.CLIENT, str(path), str(room / "store"), str(count), str(SECONDS), f"tcp://127.0.0.1:{port}"]
    orphans: list[str] = []
    with processes.supervised(port) as (scheduler, worker):
        while faults and not orphans:
            with processes.client(command) as client:
                while faults and client.poll() is None:
                    time.sleep(chance.uniform(*BETWEEN_S))
                    fault = faults.pop()
                    if fault == "scheduler":
                        scheduler.kill()
                    elif fault == "worker":
                        left = _kill_worker(worker.pid, chance)
                        if left is None:
                            faults.append(fault)  # it is being started again: later
                        orphans += left or []
                    else:
                        break  # which kills the client
                else:
                    if faults:
                        return Outcome(
                            "silent", f"the sweep ended with {len(faults)} faults left: more jobs are needed"
                        )
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=END_S)
    if orphans:
        return Outcome("left", f"processes of a killed worker after {GONE_S:g} s: {', '.join(orphans)}")
    if done.returncode:
        return Outcome("crash", done.stderr[-500:])
    return _judged(room, count, sum(kills.values()) * SLOTS)


def _kill_worker(supervisor: int, chance: random.Random) -> list[str] | None:
    """Kill one process of a worker, whichever it is; what it had begun and is still there later, None without one."""
    below = psutil.Process(supervisor).children(recursive=True)
    if not below:
        return None
    killed = chance.choice(below)
    try:
        begun = killed.children(recursive=True)
        killed.kill()
    except psutil.NoSuchProcess:
        return None
    _, left = psutil.wait_procs(begun, GONE_S)
    return [str(process) for process in left]


def _judged(room: Path, count: int, most: int) -> Outcome:
    """The rows against those of a sweep that nothing disturbs, and how often jobs ran again."""
    path, calm = room / "fleet.db", room / "calm.db"
    with patch.object(simulated.time, "sleep"):
        sweep(calm, jobs(count, SECONDS), InlineEngine(), str(room / "other"))
    if rows(path) != rows(calm):
        states = Counter(state for state, _ in rows(path).values())
        return Outcome("lost", f"other rows than without kills: {dict(states)}")
    tried = attempts(path)
    again = sum(len(outcomes) - 1 for outcomes in tried.values())
    told = f"{sum(map(len, tried.values()))} attempts at {len(tried)} jobs, {again} more than one each"
    return Outcome("fine", told) if again <= most else Outcome("silent", f"{told}: expected at most {most}")
