"""Artifacts -> `Result`: each in a process of its own, measured in interleaved rounds.

    one after the other   start, import, load, first call, warm up until the time is stable
    a round               every artifact in turn, in an order that changes from round to round: one untimed call, then
                          the timed ones, then its threads come to rest before the next process wakes
    at last               percentiles and ratios with intervals over the rounds; profiles, in processes of their own

All processes are bound to the same processors, and only one computes at a time.
"""

import logging
import random
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from . import backends
from .errors import BackendUnavailable, RequestError
from .measuring import derive, environment
from .measuring.process import Worker
from .result import Protocol, Result, Run, Subject
from .steps import Step, quiet
from .types import Feeds

ROUNDS, CALLS = 20, 5
UNTIMED = 1  # calls at the head of a round, see `Runner.call`
WINDOW, WINDOWS, DRIFT = 4, 3, 0.05  # stable: the medians of 3 successive windows of 4 calls lie within 5 %
WARMUP_CALLS, WARMUP_S = 100, 15.0  # where it is not stable, the measurement begins anyway, and says so
TIMEOUT_S = 300.0
PROFILED_CALLS = 10

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """An artifact to measure.

    Attributes:
        subject: what the result says of it; its `target` is the backend that runs it.
        path: what the backend's session opens.
        settings: what the session is started with, plain JSON; the protocol's threads replace its own.
        feeds: real inputs by name, first axis the image, repeated to the batch.
    """

    subject: Subject
    path: Path
    settings: Mapping[str, Any]
    feeds: Feeds

    @property
    def label(self) -> str:
        """What a message calls it."""
        return f"{self.subject.name} ({self.subject.target} {self.subject.precision})"


def plan(rounds: int = ROUNDS, calls: int = CALLS, threads: int | None = None) -> Protocol:
    """Returns a protocol for this machine.

    Args:
        threads: of each runtime; None takes one a processor that may be used.

    Raises:
        RequestError: a number is below 1.
    """
    threads = len(environment.usable()) if threads is None else threads
    for name, number in (("round", rounds), ("call", calls), ("thread", threads)):
        if number < 1:
            raise RequestError(f"expected at least 1 {name}, found {number}")
    return Protocol(rounds, calls, threads, environment.affinity(threads))


def measure(
    candidates: Sequence[Candidate],
    protocol: Protocol,
    batches: Sequence[int] = (1,),
    *,
    profile: bool = False,
    stand_ins: bool = False,
    device: str = "this machine",
    timeout_s: float = TIMEOUT_S,
    step: Step = quiet,
) -> Result:
    """Returns the runs of every candidate at every batch size, and how each compares with those before it.

    Args:
        candidates: at least one; the same one twice is measured twice.
        profile: per operator too, after the rounds and apart from them.
        stand_ins: measure also what only an evaluator of ours runs here; it is compared with its like alone.
        timeout_s: for one answer of a process, such as loading or one round.

    Raises:
        BackendUnavailable: a target is not installed or cannot run here, or only a stand-in can.
        MeasurementError: a process crashed or hung.
        SlideExportError: what the backend says of the artifact or the feeds.
    """
    _refuse_unfit(candidates, batches, stand_ins)
    targets = sorted({candidate.subject.target for candidate in candidates})
    machine, theft = environment.fingerprint(device, protocol.threads, targets), environment.Theft.begin()
    began = datetime.now(UTC).isoformat(timespec="seconds")
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as scratch:
        orders = [_order(candidate, protocol, Path(scratch) / f"{i}.npz") for i, candidate in enumerate(candidates)]
        for batch in batches:
            sitting = _sitting(candidates, orders, batch, protocol, timeout_s, step)
            runs += _profiled(sitting, candidates, orders, protocol, timeout_s, step) if profile else sitting
    found = tuple(runs)
    doubts = machine.warnings + theft.doubts()
    return Result(began, replace(machine, warnings=doubts), protocol, found, tuple(derive.comparisons(found, protocol)))


def _refuse_unfit(candidates: Sequence[Candidate], batches: Sequence[int], stand_ins: bool) -> None:
    if not candidates or not batches or min(batches) < 1:
        raise RequestError(f"expected artifacts and batch sizes of 1 or more, found {len(candidates)} and {batches}")
    for candidate in candidates:
        refuse_unrunnable(candidate.subject.target, candidate.subject.precision, candidate.label, stand_ins)


def refuse_unrunnable(target: str, precision: str, what: str, stand_ins: bool) -> None:
    """Refuses a target whose artifacts cannot be measured on this machine.

    Args:
        what: is to be measured, for the message.

    Raises:
        RequestError: there is no such target, or it lacks the precision.
        BackendUnavailable: it is not installed or cannot run here, or only a stand-in can.
    """
    backend = backends.require(target, precision)
    if obstacle := backend.obstacle():
        raise BackendUnavailable(f"expected {what} to run here, found {obstacle}: measure it on a machine that runs it")
    if (stand_in := backend.stand_in()) and not stand_ins:
        raise BackendUnavailable(
            f"expected the runtime of {target} for {what}, found {stand_in}; --stand-in measures that, if it is of use"
        )


def _order(candidate: Candidate, protocol: Protocol, feeds: Path) -> dict[str, Any]:
    arrays: dict[str, Any] = dict(candidate.feeds)
    np.savez(feeds, **arrays)
    return {
        "target": candidate.subject.target,
        "path": str(candidate.path),
        "settings": {**candidate.settings, "threads": protocol.threads},
        "feeds": str(feeds),
        "affinity": protocol.affinity,
    }


@dataclass(frozen=True)
class _Started:
    """A worker that is ready for its rounds, and what it said when it was loaded."""

    worker: Worker
    said: Mapping[str, Any]
    first_ms: float
    warmup_calls: int
    stable: bool


def _sitting(
    candidates: Sequence[Candidate],
    orders: Sequence[Mapping[str, Any]],
    batch: int,
    protocol: Protocol,
    timeout_s: float,
    step: Step,
) -> Iterator[Run]:
    """Yields the run of each candidate at one batch size. All processes live together, and end together."""
    with ExitStack() as open_workers:
        started = []
        for candidate, order in zip(candidates, orders, strict=True):
            with step(f"load and warm up {candidate.label}, batch {batch}"):
                worker = Worker(candidate.label, {**order, "batch": batch}, protocol.threads, timeout_s)
                started.append(_start(open_workers.enter_context(worker)))
        with step(f"measure {protocol.rounds} rounds of {protocol.calls} calls, batch {batch}"):
            rounds_ms, peaks_mib = _interleave([one.worker for one in started], protocol)
    for candidate, order, one, times, peak in zip(candidates, orders, started, rounds_ms, peaks_mib, strict=True):
        yield _run(candidate, order, batch, one, times, peak, protocol.confidence)


def _start(worker: Worker) -> _Started:
    said = worker.answer()
    (first,) = worker.call(1)["ms"]
    calls, stable = _warm_up(worker)
    return _Started(worker, said, first, calls, stable)


def _warm_up(worker: Worker) -> tuple[int, bool]:
    """Returns the calls that it took until the time was stable, and whether it became so."""
    medians: list[float] = []
    end = time.monotonic() + WARMUP_S
    while len(medians) * WINDOW < WARMUP_CALLS and time.monotonic() < end:
        medians.append(statistics.median(worker.call(WINDOW)["ms"]))
        last = medians[-WINDOWS:]
        if len(last) == WINDOWS and max(last) <= (1 + DRIFT) * min(last):
            return len(medians) * WINDOW, True
    return len(medians) * WINDOW, False


def _interleave(workers: Sequence[Worker], protocol: Protocol) -> tuple[list[list[list[float]]], list[float]]:
    """Returns the milliseconds of each call, [workers][rounds][calls], and the peak of each process in MiB."""
    rounds_ms: list[list[list[float]]] = [[] for _ in workers]
    peaks_mib = [0.0 for _ in workers]
    places = range(len(workers))
    for turn in range(protocol.rounds):
        log.info("round %d of %d", turn + 1, protocol.rounds)
        for place in random.Random(turn).sample(places, len(workers)):  # who goes before whom changes
            said = workers[place].call(protocol.calls, UNTIMED)
            rounds_ms[place].append(said["ms"])
            peaks_mib[place] = said["peak_mib"]
    return rounds_ms, peaks_mib


def _run(
    candidate: Candidate,
    order: Mapping[str, Any],
    batch: int,
    started: _Started,
    rounds_ms: Sequence[Sequence[float]],
    peak_mib: float,
    confidence: float,
) -> Run:
    derived = derive.of_rounds(rounds_ms, batch, confidence)
    return Run(
        subject=candidate.subject,
        evaluator=started.said["evaluator"],
        batch=batch,
        settings=order["settings"],
        rounds_ms=tuple(map(tuple, rounds_ms)),
        warmup_calls=started.warmup_calls,
        stable=started.stable,
        import_ms=started.said["import_ms"],
        load_ms=started.said["load_ms"],
        first_ms=started.first_ms,
        peak_mib=peak_mib,
        p50_ms=derived.p50_ms,
        p90_ms=derived.p90_ms,
        p99_ms=derived.p99_ms,
        images_per_s=derived.images_per_s,
        stand_in=backends.load(candidate.subject.target).stand_in() or "",
    )


def _profiled(
    runs: Iterable[Run],
    candidates: Sequence[Candidate],
    orders: Sequence[Mapping[str, Any]],
    protocol: Protocol,
    timeout_s: float,
    step: Step,
) -> Iterator[Run]:
    """Yields each run with its profile, from a new process: a profiler costs time, memory and options of its own."""
    for run, candidate, order in zip(runs, candidates, orders, strict=True):
        own = Worker(candidate.label, {**order, "batch": run.batch}, protocol.threads, timeout_s)
        with step(f"profile {candidate.label}, batch {run.batch}"), own as worker:
            worker.answer()
            yield replace(run, profile=worker.profile(PROFILED_CALLS))
