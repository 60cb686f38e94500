"""`python -m tests.faults SUITE… --cases N --seed S`: run cases of suites, and print one figure a suite.

A suite is a module here with NAME, CASES (how many `make faults` runs) and `run(seed, index, room) -> Outcome`. A case
is told by its seed and index alone: what was run before is kept in build/faults and not run again. Each suite runs in
a process of its own; where a case ends that one, the case is a crash or a hang, and the next one has a new process.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import multiprocessing
import pkgutil
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from . import __path__ as here
from .outcome import BAD, Outcome

KEPT = Path(__file__).parents[2] / "build" / "faults"
HANG_S, WALL_S = 10.0, 600.0  # of processor time for one case of some 100 KB; and for one that waits
MEMORY_KIB = 2 << 20
SHOWN = 20
DEFAULT_CASES = 1000


def suites() -> dict[str, str]:
    """Module of each suite, by its name."""
    found = {}
    for module in pkgutil.iter_modules(here):
        if not module.name.startswith(("test_", "_")):
            suite = importlib.import_module(f"tests.faults.{module.name}")
            if hasattr(suite, "NAME") and hasattr(suite, "run"):
                found[suite.NAME] = suite.__name__
    return found


def case(suite: Any, seed: int, index: int) -> Outcome:
    """One case, in a directory of its own; what costs too much time or memory is no good outcome."""
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory(prefix="slide-export-fault-", ignore_cleanup_errors=True) as room:
        try:
            outcome: Outcome = suite.run(seed, index, Path(room))
        except BaseException as error:
            said = traceback.format_exception_only(error)[-1].strip()
            place = traceback.extract_tb(error.__traceback__)[-1]
            outcome = Outcome("traceback", f"{said[:300]} in {Path(place.filename).name}:{place.lineno}")
    spent, grown = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if outcome.verdict in BAD:
        return outcome
    if grown > MEMORY_KIB:
        return Outcome("memory", f"{grown / 2**20:.1f} GiB")
    return Outcome("hang", f"{spent:.0f} s of processor time") if spent > _hang_s(suite) and index else outcome


def _hang_s(suite: Any) -> float:
    return float(getattr(suite, "HANG_S", HANG_S))


def _work(module: str, seed: int, pipe: Connection) -> None:
    logging.disable(logging.WARNING)  # what is said of every case would hide the figure
    warnings.simplefilter("ignore")
    suite = importlib.import_module(module)
    while (index := pipe.recv()) is not None:
        outcome = case(suite, seed, index)
        pipe.send((outcome.verdict, outcome.detail))


class Worker:
    """A process that runs cases of a suite; a new one takes its place where a case ends it."""

    def __init__(self, module: str, seed: int) -> None:
        self._start = module, seed
        self._process: multiprocessing.Process | None = None

    def run(self, index: int) -> Outcome:
        """The outcome of a case, also of one that ended the process."""
        if self._process is None:
            self._pipe, theirs = multiprocessing.Pipe()
            self._process = multiprocessing.Process(target=_work, args=(*self._start, theirs))
            self._process.start()
            theirs.close()
        try:
            self._pipe.send(index)
            if self._pipe.poll(WALL_S):
                return Outcome(*self._pipe.recv())
        except (EOFError, OSError):
            self._process.join()
            code, self._process = self._process.exitcode, None
            return Outcome("crash", f"its process ended with {code}")
        self._process.kill()
        self._process.join()
        self._process = None
        return Outcome("hang", f"more than {WALL_S:g} s")

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._pipe.send(None)
            self._process.join()


def outcomes(name: str, module: str, seed: int, cases: int) -> Iterator[tuple[int, Outcome]]:
    """Outcome of each case; those that an earlier run has kept come from its file."""
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / f"{name}-{seed}.jsonl"
    known = {line["index"]: line for line in map(json.loads, path.read_text().splitlines())} if path.exists() else {}
    worker = Worker(module, seed)
    try:
        with path.open("a") as kept:
            for index in range(cases):
                if index in known:
                    yield index, Outcome(known[index]["verdict"], known[index]["detail"])
                    continue
                outcome = worker.run(index)
                line = {"index": index, "verdict": outcome.verdict, "detail": outcome.detail}
                print(json.dumps(line), file=kept, flush=True)
                yield index, outcome
    finally:
        worker.close()


def figure(name: str, module: str, seed: int, cases: int) -> bool:
    """Run a suite and print its figure, and the first of what went wrong; True where nothing did."""
    counts: Counter[str] = Counter()
    bad = []
    for index, outcome in outcomes(name, module, seed, cases):
        counts[outcome.verdict] += 1
        if outcome.verdict in BAD:
            bad.append(f"  {outcome.verdict} {index}: {outcome.detail}")
    told = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
    print(f"{name}: {cases} cases, seed {seed}: {told}", *bad[:SHOWN], sep="\n", flush=True)
    if len(bad) > SHOWN:
        print(f"  and {len(bad) - SHOWN} more in {KEPT / f'{name}-{seed}.jsonl'}", flush=True)
    return not bad


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; 1 where something went wrong."""
    known = suites()
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"{', '.join(sorted(known))}; all without one")
    parser.add_argument("--cases", type=int, help="of each suite; its own number without it")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    if unknown := set(asked.suites) - set(known):
        parser.error(f"expected suites of {', '.join(sorted(known))}, found {', '.join(sorted(unknown))}")
    good = True
    for name in asked.suites or sorted(known):
        suite = importlib.import_module(known[name])
        number = asked.cases if asked.cases is not None else getattr(suite, "CASES", DEFAULT_CASES)
        good &= figure(name, known[name], asked.seed, number)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
