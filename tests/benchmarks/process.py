"""Wall time and peak memory of whole processes, in interleaved rounds."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Cost:
    """Medians over the rounds.

    Attributes:
        seconds: wall time, interpreter start included.
        peak_mib: largest resident set of the process.
        cpu_seconds: of all its threads, and of the processes that it waited for: what a busy machine does not change.
    """

    seconds: float
    peak_mib: float
    cpu_seconds: float = 0.0


def run_once(arguments: Sequence[str]) -> Cost:
    """The cost of one `python ARGUMENTS`; a failure stops the benchmark."""
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)  # usage: of the process and of those that it waited for
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{arguments} failed: {said.read().decode()[-2000:]}")
    return Cost(seconds, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)


def interleave(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, Cost]:
    """The median cost of each command, run A B C A B C, so that a drifting machine favours none."""
    seen: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, arguments in commands.items():
            seen[name].append(run_once(arguments))
    return {
        name: Cost(*(statistics.median(getattr(cost, one.name) for cost in costs) for one in fields(Cost)))
        for name, costs in seen.items()
    }
