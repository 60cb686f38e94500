"""One checkpoint to several targets: prepared once, finished in a process a target.

A target that crashes, hangs or runs out of memory does not touch the others, nor the process that asked.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from slide_export.backends import optional, registry
from slide_export.backends.interface import Availability
from slide_export.benchmark.plan import refuse_no_time
from slide_export.bundle import store
from slide_export.bundle.store import Bundle
from slide_export.core import errors, files, hidden
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import (
    OUT_OF_TIME,
    BackendUnavailable,
    MeasurementError,
    RequestError,
    SlideExportError,
    TimeLimitError,
    WriteError,
    option,
)
from slide_export.core.progress import Progress, no_progress
from slide_export.core.request import AccuracyGoal, ExportRequest

from .child import EXPORT, JobEnd, Nursery, threads_each
from .resolve import resolve

JOBS = 2  # much of an export runs on one core: two take little longer than one
HERE = "slide_export.workflows.all_targets"


@dataclass(frozen=True)
class TargetResult:
    """How one target's export ended.

    Attributes:
        exit_code: what that export alone would have ended with; 70 for a crash, 75 where its time was over; 0 for a
            target that nobody named and that is not installed.
        message: why, in one sentence; empty when it is done.
        seconds: from the start of its process to its end.
        bundle: what was made, None unless it is done.
        error: what `export` of that target alone would have raised; None unless it failed.
    """

    target: str
    exit_code: int
    message: str
    seconds: float
    bundle: Bundle | None
    error: SlideExportError | None = None

    @property
    def on_command_line(self) -> str:
        """The message with its options as flags."""
        return self.error.on_command_line if self.error else self.message

    @classmethod
    def failed(cls, target: str, error: SlideExportError, seconds: float = 0.0) -> "TargetResult":
        """One without a bundle."""
        return cls(target, error.exit_code, str(error), seconds, None, error)


def export_all(
    request: ExportRequest,
    targets: Sequence[str] | None,
    timeout_s: float,
    jobs: int = JOBS,
    step: Progress = no_progress,
) -> tuple[TargetResult, ...]:
    """The result of a request for each target, in the order of `targets`.

    Args:
        targets: names; None takes every target that is installed, and ends with a row for each that is not.
        timeout_s: a target that takes longer is stopped and reported; so is the preparation.
        jobs: how many processes at a time, which share the processor's cores: targets first, and where there are
            fewer, several for the accuracy of each.

    Raises:
        RequestError: the request has families or tasks of the caller's own, which other processes do not know; or
            there is no time.
        BackendUnavailable: nobody named targets, and none is installed.
    """
    if request.families or request.tasks:
        raise RequestError(
            "expected families and tasks of slide_export, which processes of their own know: with others, export to "
            f"one target at a time, without {option('timeout_s', 'timeout')}"
        )
    refuse_no_time(timeout_s)
    if targets is None:
        ready, absent = installed()
        if not ready:
            hints = "; ".join(one.install for one in absent)
            raise BackendUnavailable(f"expected a target that is installed, found none: {hints}")
        return (*export_all(request, ready, timeout_s, jobs, step), *map(_not_installed, absent))
    requests = [for_target(request, target) for target in targets]
    ended = {index: end for index, one in enumerate(requests) if (end := _refusal(one)) is not None}
    able = [index for index in range(len(requests)) if index not in ended]
    if able:
        ended |= dict(zip(able, _each([requests[index] for index in able], timeout_s, jobs, step), strict=True))
    return tuple(ended[index] for index in range(len(requests)))


def export_within(request: ExportRequest, timeout_s: float, jobs: int, step: Progress = no_progress) -> Bundle:
    """The bundle of one request, made in processes that are stopped where they take too long.

    Args:
        timeout_s: for the preparation, and again for the rest.
        jobs: processes that measure its accuracy.

    Raises:
        TimeLimitError: it took longer; nothing of it is left.
        MeasurementError: its process crashed.
        SlideExportError: as without a limit.
    """
    (result,) = export_all(request, (request.target,), timeout_s, jobs, step)
    if result.error is not None or result.bundle is None:
        raise result.error or MeasurementError(result.message)
    return result.bundle


def installed() -> tuple[tuple[str, ...], tuple[Availability, ...]]:
    """Targets that are installed, and what lacks of those that are not."""
    found = [registry.availability(target) for target in registry.names()]
    return tuple(one.target for one in found if one.ready), tuple(one for one in found if not one.ready)


def _not_installed(absent: Availability) -> TargetResult:
    """The row of a target that nobody named: no failure."""
    return TargetResult(absent.target, 0, f"not installed: {absent.install}", 0.0, None)


def _each(requests: Sequence[ExportRequest], timeout_s: float, jobs: int, step: Progress) -> Sequence[TargetResult]:
    with (
        tempfile.TemporaryDirectory(prefix="slide-export-prepared-") as directory,
        Nursery(EXPORT, {"OMP_NUM_THREADS": threads_each(jobs)}) as nursery,
    ):
        order = {"request": plain(dynamic_first(requests)), "prepared": directory, "threads": _all_threads()}
        with step("load the checkpoint, make its reference, fuse and certify it"):
            error = _error(nursery.run(f"{HERE}:prepare_one", order, timeout_s))
        if error is not None:
            return [TargetResult.failed(one.target, error) for one in requests]

        def finish(request: ExportRequest) -> TargetResult:
            """Finish one target in a child process and read its bundle back; a failure is in the result."""
            with step(f"export to {request.target}"):
                job = {"request": plain(request), "prepared": directory, "jobs": max(1, jobs // len(requests))}
                done = nursery.run(f"{HERE}:finish_one", job, timeout_s)
                if done.result is None:
                    hidden.sweep(request.out)  # what it was writing
            if (error := _error(done)) is not None:
                return TargetResult.failed(request.target, error, done.seconds)
            return TargetResult(request.target, 0, "", done.seconds, store.read(Path(done.result["path"])))

        with ThreadPoolExecutor(jobs) as pool, _ended_early(nursery, pool):
            return list(pool.map(finish, requests))


def dynamic_first(requests: Sequence[ExportRequest]) -> ExportRequest:
    """The request that the checkpoint is prepared for: what is dynamic there can be fixed for a target."""
    return min(requests, key=lambda one: one.interface.batch is not None)


@contextmanager
def _ended_early(nursery: Nursery, pool: ThreadPoolExecutor) -> Iterator[None]:
    """Stop what still runs where the parent is interrupted, instead of waiting for it."""
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        nursery.stop()
        raise


def worst(results: Sequence[TargetResult]) -> int:
    """The exit code that tells the most."""
    return errors.worst(result.exit_code for result in results)


def for_target(request: ExportRequest, target: str) -> ExportRequest:
    """A request of several targets for one of them: with the options that it knows, and a batch that it takes.

    A dynamic batch stands for the smallest one of a target that takes no dynamic one; a fixed one is left as it is.
    """
    backend = registry.load(target)
    options = {name: value for name, value in request.options.items() if name in backend.OPTIONS}
    sizes, io = optional.fixed_batches(backend), request.interface
    if sizes is not None and io.batch is None:
        io = replace(io, batch=sizes[0])
    return replace(request, target=target, options=options, interface=io)


def _refusal(request: ExportRequest) -> TargetResult | None:
    try:
        resolve(request)
    except SlideExportError as error:
        return TargetResult.failed(request.target, error)
    return None


def _all_threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def _error(end: JobEnd) -> SlideExportError | None:
    """What a job failed with, also one that crashed or took too long; None where it is done."""
    if end.result is None:
        return (TimeLimitError if end.exit_code == OUT_OF_TIME else MeasurementError)(end.message)
    return errors.from_answer(end.result) if "error" in end.result else None


def prepare_one(order: Mapping[str, Any]) -> dict[str, Any]:
    """Prepare a checkpoint into a directory, in a process of its own."""
    import torch

    from .prepare import prepare
    from .prepared_files import write

    torch.set_num_threads(order["threads"])

    def done() -> str | None:
        """Prepare; nothing of it is shipped."""
        plan = resolve(parsed(order["request"]))
        prepared = prepare(plan.source)
        for numbers in plan.float_formats:
            prepared.with_floor(numbers)
        write(prepared, Path(order["prepared"]))
        return None

    return _outcome(done)


def finish_one(order: Mapping[str, Any]) -> dict[str, Any]:
    """Finish one target from a prepared directory, in a process of its own."""
    from .export import complete
    from .prepared_files import read

    def done() -> str:
        """Finish; the bundle's path."""
        plan, prepared = resolve(parsed(order["request"])), read(Path(order["prepared"]))
        return str(complete(plan, prepared, jobs=order["jobs"]).path)

    return _outcome(done)


def _outcome(work: Callable[[], str | None]) -> dict[str, Any]:
    """What a job tells its parent; any error but a refusal is a crash."""
    try:
        return {"path": work()}
    except SlideExportError as error:
        return errors.as_answer(error)
    except Exception as error:
        if refusal := files.write_refusal(error, None):
            return errors.as_answer(WriteError(refusal))
        raise


def plain(request: ExportRequest) -> dict[str, Any]:
    """A request as JSON holds it."""
    found = asdict(replace(request, families=(), tasks=()))
    goal = found["accuracy"]
    paths = ("checkpoint", "out", "images", "quantization_recipe")
    return {
        **found,
        **{name: None if found[name] is None else str(found[name]) for name in paths},
        "accuracy": goal and {**goal, "images": str(goal["images"])},
    }


def parsed(content: Mapping[str, Any]) -> ExportRequest:
    """The request that `plain` made this of."""
    goal, size = content["accuracy"], content["input_size"]
    paths = ("checkpoint", "out", "images", "quantization_recipe")
    io: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in content["interface"].items()
    }
    return ExportRequest(
        **{
            **content,
            **{name: None if content[name] is None else Path(content[name]) for name in paths},
            "accuracy": goal and AccuracyGoal(**{**goal, "images": Path(goal["images"])}),
            "interface": ModelIO(**io),
            "input_size": size and tuple(size),
            "keep_fp32": tuple(content["keep_fp32"]),
            "families": (),
            "tasks": (),
        }
    )
