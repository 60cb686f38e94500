"""What is asked of a measurement, as one value that every layer hands on. Importing this file imports no torch."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

from slide_export.core.artifact import LARGEST_BATCH
from slide_export.core.errors import RequestError
from slide_export.core.text import foreign

ROUNDS, CALLS = 20, 5
TIMEOUT_S = 300.0
THIS_MACHINE = "this machine"


@dataclass(frozen=True)
class DeviceRequest:
    """The device to measure on.

    Attributes:
        name: address of another machine, ssh://[user@]host[:port][/directory] or adb:SERIAL; any other word is what the
            result calls this machine.
        keep: leave on another machine what was copied there, and log where.
        runner: of a phone: onnxruntime_perf_test or benchmark_app, built for it.
    """

    name: str = THIS_MACHINE
    keep: bool = False
    runner: Path | None = None


@dataclass(frozen=True)
class BenchPlan:
    """How bundles are measured, and where.

    Attributes:
        batches: numbers of images in a call.
        rounds: of `calls` calls of each artifact; fewer than 6 allow no verdict.
        threads: of each runtime; None takes one for each processor that may be used.
        profile: time each operator too, in a separate run.
        substitute_runtimes: measure also an artifact that only an evaluator of ours runs there.
        timeout_s: for one answer of an artifact's process: to load, or one round.
        device: where.
        roofline: measure the machine's peaks too; on this machine alone.

    Raises:
        RequestError: a number is below 1, there is no batch size, or no time.
    """

    batches: tuple[int, ...] = (1,)
    rounds: int = ROUNDS
    calls: int = CALLS
    threads: int | None = None
    profile: bool = False
    substitute_runtimes: bool = False
    timeout_s: float = TIMEOUT_S
    device: DeviceRequest = field(default_factory=DeviceRequest)
    roofline: bool = False

    def __post_init__(self) -> None:
        for noun, number in (("round", self.rounds), ("call", self.calls), ("thread", self.threads)):
            if number is not None and number < 1:
                raise RequestError(f"expected at least 1 {noun}, found {number}")
        if not self.batches or not 1 <= min(self.batches) <= max(self.batches) <= LARGEST_BATCH:
            found = foreign(", ".join(map(str, self.batches)) or "none")
            raise RequestError(f"expected batch sizes of 1 to {LARGEST_BATCH}, found {found}")
        refuse_no_time(self.timeout_s)


def refuse_no_time(timeout_s: float) -> None:
    """Refuse a time limit that no clock can wait for.

    Raises:
        RequestError: it is 0 or less, no number, or longer than a thread can wait.
    """
    if not 0 < timeout_s <= threading.TIMEOUT_MAX:
        raise RequestError(f"expected a time limit above 0 seconds, found {timeout_s:g}")


class BenchOptions(TypedDict, total=False):
    """The fields of `BenchPlan` and `DeviceRequest` as keywords of `slide_export.bench`, `recommend` and `compare`.

    Attributes:
        batches: numbers of images in a call.
        rounds: of `calls` calls of each bundle; fewer than 6 allow no verdict.
        threads: of each runtime; None takes one for each processor that may be used.
        profile: time each operator too, in a separate run.
        roofline: measure the machine's peaks too, and how far above their limit each bundle is; on this machine alone.
        stand_ins: measure also an artifact that only an evaluator of ours runs there; `BenchPlan.substitute_runtimes`.
        device: what the result calls this machine; or another one, ssh://[user@]host[:port][/directory] or adb:SERIAL.
        keep: leave on another machine what was copied there, and log where.
        runner: of a phone: onnxruntime_perf_test or benchmark_app, built for it.
        timeout_s: to load, or for one round.
    """

    batches: Sequence[int]
    rounds: int
    calls: int
    threads: int | None
    profile: bool
    roofline: bool
    stand_ins: bool
    device: str
    keep: bool
    runner: Path | str | None
    timeout_s: float


DEVICE_FIELDS = {"device": "name", "keep": "keep", "runner": "runner"}
"""Keyword -> field of `DeviceRequest`."""


def plan_of(plan: BenchPlan | None, options: BenchOptions) -> BenchPlan:
    """Plan with the given keywords in the place of its own fields; the default plan without one.

    Given    BenchPlan(rounds=6), {"calls": 2, "device": "ssh://board"}
    Result   BenchPlan(rounds=6, calls=2, device=DeviceRequest("ssh://board"))

    Raises:
        RequestError: a number is below 1, or there is no batch size.
        TypeError: a keyword that is none of `BenchOptions`.
    """
    plan = plan or BenchPlan()
    given: Mapping[str, Any] = options
    of_device = {DEVICE_FIELDS[name]: value for name, value in given.items() if name in DEVICE_FIELDS}
    own = {name: value for name, value in given.items() if name not in DEVICE_FIELDS}
    if "stand_ins" in own:
        own["substitute_runtimes"] = own.pop("stand_ins")
    if "batches" in own:
        own["batches"] = tuple(own["batches"])
    if of_device.get("runner") is not None:
        of_device["runner"] = Path(of_device["runner"])
    return replace(plan, **own, device=replace(plan.device, **of_device))
