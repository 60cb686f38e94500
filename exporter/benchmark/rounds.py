"""Artifacts -> `BenchmarkResult`: each in a process of its own, measured in interleaved rounds.

    1. one after the other   start, import, load, first call, warm up until the time is stable
    2. a round               every artifact in turn, in an order that changes from round to round: one untimed call,
                             then the timed ones, then its threads come to rest before the next process wakes
    3. after the rounds      percentiles and ratios with intervals over the rounds; profiles, in separate processes

All processes are bound to the same processors, and only one computes at a time.
"""

import logging
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slide_export.core.artifact import Feeds
from slide_export.core.errors import BackendUnavailable, RequestError, option
from slide_export.core.measurement import ArtifactInfo, ArtifactTiming, BenchmarkResult, BenchProtocol
from slide_export.core.progress import Progress, no_progress

from .devices import Device, Readiness
from .devices.local import LOCAL_DEVICE
from .plan import BenchPlan
from .process import ArtifactWorker
from .roofline import kinds_of
from .statistics import comparisons, summarize

UNTIMED_CALLS = 1  # at the head of a round, see `LoadedArtifact.call`
WINDOW_CALLS, WINDOWS, DRIFT = 4, 3, 0.05  # stable: the medians of 3 successive windows of 4 calls lie within 5 %
WARMUP_CALLS, WARMUP_S = 100, 15.0  # where it is not stable by then, the measurement begins anyway, and says so
PROFILED_CALLS = 10
MOST_THREADS = 4  # for each processor: runtimes' threads spin while they wait, and more of them take minutes a call

Job = Mapping[str, Any]
"""First line of the worker's protocol; see `worker`."""
StartWorker = Callable[[str, Job], AbstractContextManager[ArtifactWorker]]
"""Takes what a message calls the artifact, and the worker's job."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """An artifact to measure.

    Attributes:
        subject: what the result says about it; its `target` is the backend that runs it.
        path: what the backend's session opens.
        settings: of the session, plain JSON; the protocol's threads replace its own.
        feeds: real inputs by name, first axis the image, repeated to the batch.
    """

    subject: ArtifactInfo
    path: Path
    settings: Mapping[str, Any]
    feeds: Feeds

    @property
    def label(self) -> str:
        """Name in messages."""
        return f"{self.subject.name} ({self.subject.target} {self.subject.precision})"


def measure(
    candidates: Sequence[Candidate],
    plan: BenchPlan | None = None,
    device: Device = LOCAL_DEVICE,
    step: Progress = no_progress,
) -> BenchmarkResult:
    """Run every candidate at every batch size, and compare each run with those before it.

    Args:
        candidates: at least one; the same one twice is measured twice.
        plan: its `device` is connected already, as `device`.
        device: where they run.

    Raises:
        BackendUnavailable: a target is not installed or cannot run there, or only a substitute runtime can.
        DeviceError: the device was lost.
        MeasurementError: a process crashed.
        TimeLimitError: one did not answer in time.
        SlideExportError: what the backend says of the artifact or the feeds.
    """
    plan = plan or BenchPlan()
    protocol = protocol_of(plan, device)
    ready = _refuse_unfit(candidates, plan, device)
    targets = sorted({candidate.subject.target for candidate in candidates})
    machine, steal_time = device.fingerprint(protocol.threads, targets)
    start = partial(device.worker, threads=protocol.threads, timeout_s=plan.timeout_s)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    timings: list[ArtifactTiming] = []
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / f"inputs-{number}.npz" for number in range(len(candidates))]
        jobs = [_job(*pair, protocol, device) for pair in zip(candidates, files, strict=True)]
        session = _Session(candidates, jobs, protocol, start, step)
        for batch in plan.batches:
            found = session.timings(batch)
            timings += session.profiled(found) if plan.profile else found
    runs = tuple(replace(run, stand_in=ready[run.subject.target].substitute_runtime or "") for run in timings)
    machine = replace(machine, warnings=machine.warnings + device.doubts(steal_time))
    with step("measure what the machine reaches at best") if plan.roofline else nullcontext():
        peaks = device.peaks(protocol.threads, kinds_of(runs)) if plan.roofline else None
    return BenchmarkResult(began, machine, protocol, runs, tuple(comparisons(runs, protocol)), peaks)


def protocol_of(plan: BenchPlan, device: Device = LOCAL_DEVICE) -> BenchProtocol:
    """The plan's rounds, calls and threads on a device, and the processors to bind to there.

    Raises:
        RequestError: more threads than the device can take turns with.
    """
    processors = len(device.processors())
    threads = processors if plan.threads is None else plan.threads
    if threads > MOST_THREADS * processors:
        raise RequestError(
            f"expected at most {MOST_THREADS * processors} threads on {device.name}, {MOST_THREADS} for each of its "
            f"{processors} processors, found {threads}: they would wait for each other, and nothing would be measured"
        )
    return BenchProtocol(plan.rounds, plan.calls, threads, device.affinity(threads))


def _refuse_unfit(candidates: Sequence[Candidate], plan: BenchPlan, device: Device) -> dict[str, Readiness]:
    """Refuse candidates of which one cannot be measured there; give each target's readiness."""
    if not candidates:
        raise RequestError("expected at least one artifact to measure, found 0")
    return {
        one.subject.target: refuse_unrunnable(one.subject.target, one.subject.precision, one.label, plan, device)
        for one in candidates
    }


def refuse_unrunnable(
    target: str, precision: str, what: str, plan: BenchPlan, device: Device = LOCAL_DEVICE
) -> Readiness:
    """Refuse a target and precision that cannot be measured on a device; give the target's readiness.

    Args:
        what: is to be measured, for the message.

    Raises:
        RequestError: there is no such target, or it lacks the precision.
        BackendUnavailable: it is not installed or cannot run there, or only a substitute runtime can.
    """
    ready = device.readiness(target, precision)
    if ready.unavailable_reason:
        raise BackendUnavailable(
            f"expected {what} to run on {device.name}, found {ready.unavailable_reason}: "
            "measure it on a machine that runs it"
        )
    if ready.substitute_runtime and not plan.substitute_runtimes:
        raise BackendUnavailable(
            f"expected the runtime of {target} for {what}, found {ready.substitute_runtime}; "
            f"{option('stand_ins', 'stand_in')} measures that, if it is of use"
        )
    return ready


def _job(candidate: Candidate, feeds: Path, protocol: BenchProtocol, device: Device) -> Job:
    """Bring an artifact and its feeds to the device; give the worker's job, but for its batch size."""
    arrays: dict[str, Any] = dict(candidate.feeds)
    np.savez(feeds, **arrays)
    return {
        "target": candidate.subject.target,
        "path": str(device.put(candidate.path.parent) / candidate.path.name),  # with the files beside it
        "settings": {**candidate.settings, "threads": protocol.threads},
        "feeds": str(device.put(feeds)),
        "affinity": protocol.affinity,
    }


@dataclass(frozen=True)
class _Started:
    """A worker that is ready for its rounds, and its answer after loading."""

    worker: ArtifactWorker
    answer: Mapping[str, Any]
    first_ms: float | None
    warmup_calls: int
    stable: bool


@dataclass(frozen=True)
class _Session:
    """Candidates and their jobs on one device, to be measured by one protocol."""

    candidates: Sequence[Candidate]
    jobs: Sequence[Job]
    protocol: BenchProtocol
    start: StartWorker
    step: Progress

    def timings(self, batch: int) -> Iterator[ArtifactTiming]:
        """The run of each candidate at one batch size. All processes live together, and end together."""
        with ExitStack() as open_workers:
            started = []
            for candidate, job in zip(self.candidates, self.jobs, strict=True):
                with self.step(f"load and warm up {candidate.label}, batch {batch}"):
                    worker = self.start(candidate.label, {**job, "batch": batch})
                    started.append(_start(open_workers.enter_context(worker)))
            rounds, calls = self.protocol.rounds, self.protocol.calls
            with self.step(f"measure {rounds} rounds of {calls} calls, batch {batch}"):
                rounds_ms, peaks_mib = _interleave([one.worker for one in started], self.protocol)
        for index, one in enumerate(started):
            yield self._timing(index, batch, one, rounds_ms[index], peaks_mib[index])

    def _timing(
        self, index: int, batch: int, started: _Started, rounds_ms: Sequence[Sequence[float]], peak_mib: float | None
    ) -> ArtifactTiming:
        summary = summarize(rounds_ms, batch, self.protocol.confidence)
        return ArtifactTiming(
            subject=self.candidates[index].subject,
            evaluator=started.answer["evaluator"],
            batch=batch,
            settings=self.jobs[index]["settings"],
            rounds_ms=tuple(map(tuple, rounds_ms)),
            warmup_calls=started.warmup_calls,
            stable=started.stable,
            import_ms=started.answer["import_ms"],
            load_ms=started.answer["load_ms"],
            first_ms=started.first_ms,
            peak_mib=peak_mib,
            p50_ms=summary.p50_ms,
            p90_ms=summary.p90_ms,
            p99_ms=summary.p99_ms,
            images_per_s=summary.images_per_s,
        )

    def profiled(self, timings: Iterable[ArtifactTiming]) -> Iterator[ArtifactTiming]:
        """Each run with its profile, from a new process: a profiler costs time, memory and options of its own."""
        for timing, candidate, job in zip(timings, self.candidates, self.jobs, strict=True):
            process = self.start(candidate.label, {**job, "batch": timing.batch})
            with self.step(f"profile {candidate.label}, batch {timing.batch}"), process as worker:
                worker.answer()
                yield replace(timing, profile=worker.profile(PROFILED_CALLS))


def _start(worker: ArtifactWorker) -> _Started:
    answer = worker.answer()
    first = answer["first_ms"] if "first_ms" in answer else worker.call(1)["ms"][0]
    calls, stable = _warm_up(worker)
    return _Started(worker, answer, first, calls, stable)


def _warm_up(worker: ArtifactWorker) -> tuple[int, bool]:
    """Call until the time is stable; give the number of calls, and whether it became stable."""
    medians: list[float] = []
    end = time.monotonic() + WARMUP_S
    while len(medians) * WINDOW_CALLS < WARMUP_CALLS and time.monotonic() < end:
        medians.append(statistics.median(worker.call(WINDOW_CALLS)["ms"]))
        last = medians[-WINDOWS:]
        if len(last) == WINDOWS and max(last) <= (1 + DRIFT) * min(last):
            return len(medians) * WINDOW_CALLS, True
    return len(medians) * WINDOW_CALLS, False


def _interleave(
    workers: Sequence[ArtifactWorker], protocol: BenchProtocol
) -> tuple[list[list[list[float]]], list[float | None]]:
    """Milliseconds of each call, [workers][rounds][calls], and the peak of each process in MiB."""
    rounds_ms: list[list[list[float]]] = [[] for _ in workers]
    peaks_mib: list[float | None] = [None for _ in workers]
    indices = range(len(workers))
    for number in range(protocol.rounds):
        log.info("round %d of %d", number + 1, protocol.rounds)
        # A new order each round, so that no artifact always runs after the same other one; seeded, so that it repeats.
        for index in random.Random(number).sample(indices, len(workers)):
            answer = workers[index].call(protocol.calls, UNTIMED_CALLS)
            rounds_ms[index].append(answer["ms"])
            peaks_mib[index] = answer["peak_mib"]
    return rounds_ms, peaks_mib
