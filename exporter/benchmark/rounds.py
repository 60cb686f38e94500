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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slide_export.core.artifact import Feeds
from slide_export.core.errors import BackendUnavailable, RequestError
from slide_export.core.measurement import ArtifactInfo, ArtifactTiming, BenchmarkResult, Protocol
from slide_export.core.progress import Progress, no_progress

from . import CALLS, ROUNDS, TIMEOUT_S, derive
from .devices import Device, Readiness
from .devices.local import LOCAL_DEVICE
from .process import Measured

UNTIMED = 1  # calls at the head of a round, see `Runner.call`
WINDOW, WINDOWS, DRIFT = 4, 3, 0.05  # stable: the medians of 3 successive windows of 4 calls lie within 5 %
WARMUP_CALLS, WARMUP_S = 100, 15.0  # where it is not stable, the measurement begins anyway, and says so
PROFILED_CALLS = 10

Start = Callable[[str, Mapping[str, Any]], AbstractContextManager[Measured]]
"""Told what a message calls the artifact, and the worker's order."""

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

    subject: ArtifactInfo
    path: Path
    settings: Mapping[str, Any]
    feeds: Feeds

    @property
    def label(self) -> str:
        """What a message calls it."""
        return f"{self.subject.name} ({self.subject.target} {self.subject.precision})"


def plan(
    rounds: int = ROUNDS, calls: int = CALLS, threads: int | None = None, place: Device = LOCAL_DEVICE
) -> Protocol:
    """Returns a protocol for a machine.

    Args:
        threads: of each runtime; None takes one a processor that may be used.

    Raises:
        RequestError: a number is below 1.
    """
    threads = len(place.processors()) if threads is None else threads
    for name, number in (("round", rounds), ("call", calls), ("thread", threads)):
        if number < 1:
            raise RequestError(f"expected at least 1 {name}, found {number}")
    return Protocol(rounds, calls, threads, place.affinity(threads))


def measure(
    candidates: Sequence[Candidate],
    protocol: Protocol,
    batches: Sequence[int] = (1,),
    *,
    profile: bool = False,
    stand_ins: bool = False,
    place: Device = LOCAL_DEVICE,
    timeout_s: float = TIMEOUT_S,
    step: Progress = no_progress,
) -> BenchmarkResult:
    """Returns the runs of every candidate at every batch size, and how each compares with those before it.

    Args:
        candidates: at least one; the same one twice is measured twice.
        profile: per operator too, after the rounds and apart from them.
        stand_ins: measure also what only an evaluator of ours runs there; it is compared with its like alone.
        place: where they run.
        timeout_s: for one answer of a process, such as loading or one round.

    Raises:
        BackendUnavailable: a target is not installed or cannot run there, or only a stand-in can.
        DeviceError: the device was lost.
        MeasurementError: a process crashed or hung.
        SlideExportError: what the backend says of the artifact or the feeds.
    """
    ready = _refuse_unfit(candidates, batches, stand_ins, place)
    targets = sorted({candidate.subject.target for candidate in candidates})
    machine, theft = place.fingerprint(protocol.threads, targets)
    start = partial(place.worker, threads=protocol.threads, timeout_s=timeout_s)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    runs: list[ArtifactTiming] = []
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / f"inputs-{number}.npz" for number in range(len(candidates))]
        orders = [_order(*pair, protocol, place) for pair in zip(candidates, files, strict=True)]
        for batch in batches:
            sitting = _sitting(candidates, orders, batch, protocol, start, step)
            runs += _profiled(sitting, candidates, orders, start, step) if profile else sitting
    found = tuple(replace(run, stand_in=ready[run.subject.target].stand_in or "") for run in runs)
    doubts = machine.warnings + place.doubts(theft)
    return BenchmarkResult(
        began, replace(machine, warnings=doubts), protocol, found, tuple(derive.comparisons(found, protocol))
    )


def _refuse_unfit(
    candidates: Sequence[Candidate], batches: Sequence[int], stand_ins: bool, place: Device
) -> dict[str, Readiness]:
    """Returns what each target can do there, once all of them can run."""
    if not candidates or not batches or min(batches) < 1:
        raise RequestError(f"expected artifacts and batch sizes of 1 or more, found {len(candidates)} and {batches}")
    return {
        candidate.subject.target: refuse_unrunnable(
            candidate.subject.target, candidate.subject.precision, candidate.label, stand_ins, place
        )
        for candidate in candidates
    }


def refuse_unrunnable(
    target: str, precision: str, what: str, stand_ins: bool, place: Device = LOCAL_DEVICE
) -> Readiness:
    """Returns what a target can do at a place, once its artifacts can be measured there.

    Args:
        what: is to be measured, for the message.

    Raises:
        RequestError: there is no such target, or it lacks the precision.
        BackendUnavailable: it is not installed or cannot run there, or only a stand-in can.
    """
    ready = place.readiness(target, precision)
    if ready.obstacle:
        raise BackendUnavailable(
            f"expected {what} to run on {place.name}, found {ready.obstacle}: measure it on a machine that runs it"
        )
    if ready.stand_in and not stand_ins:
        raise BackendUnavailable(
            f"expected the runtime of {target} for {what}, found {ready.stand_in}; "
            "--stand-in measures that, if it is of use"
        )
    return ready


def _order(candidate: Candidate, feeds: Path, protocol: Protocol, place: Device) -> dict[str, Any]:
    """Returns what a worker is told of an artifact, once it and its feeds are there."""
    arrays: dict[str, Any] = dict(candidate.feeds)
    np.savez(feeds, **arrays)
    return {
        "target": candidate.subject.target,
        "path": str(place.put(candidate.path.parent) / candidate.path.name),  # with what lies beside it
        "settings": {**candidate.settings, "threads": protocol.threads},
        "feeds": str(place.put(feeds)),
        "affinity": protocol.affinity,
    }


@dataclass(frozen=True)
class _Started:
    """A worker that is ready for its rounds, and what it said when it was loaded."""

    worker: Measured
    said: Mapping[str, Any]
    first_ms: float | None
    warmup_calls: int
    stable: bool


def _sitting(
    candidates: Sequence[Candidate],
    orders: Sequence[Mapping[str, Any]],
    batch: int,
    protocol: Protocol,
    start: Start,
    step: Progress,
) -> Iterator[ArtifactTiming]:
    """Yields the run of each candidate at one batch size. All processes live together, and end together."""
    with ExitStack() as open_workers:
        started = []
        for candidate, order in zip(candidates, orders, strict=True):
            with step(f"load and warm up {candidate.label}, batch {batch}"):
                worker = start(candidate.label, {**order, "batch": batch})
                started.append(_start(open_workers.enter_context(worker)))
        with step(f"measure {protocol.rounds} rounds of {protocol.calls} calls, batch {batch}"):
            rounds_ms, peaks_mib = _interleave([one.worker for one in started], protocol)
    for candidate, order, one, times, peak in zip(candidates, orders, started, rounds_ms, peaks_mib, strict=True):
        yield _run(candidate, order, batch, one, times, peak, protocol.confidence)


def _start(worker: Measured) -> _Started:
    said = worker.answer()
    first = said["first_ms"] if "first_ms" in said else worker.call(1)["ms"][0]
    calls, stable = _warm_up(worker)
    return _Started(worker, said, first, calls, stable)


def _warm_up(worker: Measured) -> tuple[int, bool]:
    """Returns the calls that it took until the time was stable, and whether it became so."""
    medians: list[float] = []
    end = time.monotonic() + WARMUP_S
    while len(medians) * WINDOW < WARMUP_CALLS and time.monotonic() < end:
        medians.append(statistics.median(worker.call(WINDOW)["ms"]))
        last = medians[-WINDOWS:]
        if len(last) == WINDOWS and max(last) <= (1 + DRIFT) * min(last):
            return len(medians) * WINDOW, True
    return len(medians) * WINDOW, False


def _interleave(workers: Sequence[Measured], protocol: Protocol) -> tuple[list[list[list[float]]], list[float | None]]:
    """Returns the milliseconds of each call, [workers][rounds][calls], and the peak of each process in MiB."""
    rounds_ms: list[list[list[float]]] = [[] for _ in workers]
    peaks_mib: list[float | None] = [None for _ in workers]
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
    peak_mib: float | None,
    confidence: float,
) -> ArtifactTiming:
    derived = derive.of_rounds(rounds_ms, batch, confidence)
    return ArtifactTiming(
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
    )


def _profiled(
    runs: Iterable[ArtifactTiming],
    candidates: Sequence[Candidate],
    orders: Sequence[Mapping[str, Any]],
    start: Start,
    step: Progress,
) -> Iterator[ArtifactTiming]:
    """Yields each run with its profile, from a new process: a profiler costs time, memory and options of its own."""
    for run, candidate, order in zip(runs, candidates, orders, strict=True):
        own = start(candidate.label, {**order, "batch": run.batch})
        with step(f"profile {candidate.label}, batch {run.batch}"), own as worker:
            worker.answer()
            yield replace(run, profile=worker.profile(PROFILED_CALLS))
