"""This machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.benchmark import environment
from slide_export.benchmark.environment import StealTime, flags
from slide_export.benchmark.fast_types import fast_types
from slide_export.benchmark.peaks import KINDS
from slide_export.benchmark.plan import THIS_MACHINE
from slide_export.benchmark.process import Worker
from slide_export.bundle.manifest import Manifest
from slide_export.core import typed_json
from slide_export.core.errors import MeasurementError, option
from slide_export.core.measurement import Environment, Peaks
from slide_export.core.text import foreign

from . import Readiness


class LocalDevice:
    """This machine: paths are paths, and a worker is a child of this process."""

    def __init__(self, name: str = THIS_MACHINE) -> None:
        """Name the device as results shall call it."""
        self.name = name

    def __enter__(self) -> LocalDevice:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def prepare(self, manifests: Sequence[Manifest]) -> None:
        """Install nothing: the user's environment is the user's."""

    def processors(self) -> tuple[int, ...]:
        """Processors that this process may use."""
        return environment.usable()

    def affinity(self, threads: int) -> tuple[int, ...]:
        """Processors to bind to; see `Device`."""
        return environment.affinity(threads)

    def readiness(self, target: str, precision: str) -> Readiness:
        """What a target can do here; see `Device`."""
        backend = backends.require(target, precision)
        return Readiness(optional.unavailable_reason(backend), optional.substitute_runtime(backend))

    def fingerprint(self, threads: int, targets: Sequence[str]) -> tuple[Environment, StealTime]:
        """This machine; see `Device`."""
        return environment.fingerprint(self.name, threads, targets), StealTime.begin()

    def doubts(self, steal_time: StealTime) -> tuple[str, ...]:
        """Warning about the CPU time that this machine's host stole."""
        return steal_time.doubts()

    def peaks(self, threads: int, kinds: Sequence[str]) -> Peaks | None:
        """What this machine reaches at best; see `Device`. Types without instructions of their own are no limit."""
        asked = [kind for kind in KINDS if kind in kinds and (kind == "float32" or kind in fast_types(flags()))]
        job = json.dumps({"threads": threads, "affinity": self.affinity(threads), "kinds": asked}, allow_nan=False)
        done = subprocess.run(
            [sys.executable, "-m", "slide_export.benchmark.peaks", job], capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise MeasurementError(
                f"expected the machine's peaks, its process ended with {done.returncode} and said: {foreign(last)}; "
                f"measure without {option('roofline')}"
            )
        return typed_json.read(Peaks, typed_json.parse(done.stdout), "peaks")

    def put(self, path: Path) -> Path:
        """The path itself: it is here already."""
        return path

    def worker(self, name: str, job: Mapping[str, Any], threads: int, timeout_s: float) -> Worker:
        """A child process that runs one artifact."""
        return Worker(name, job, threads, timeout_s)


LOCAL_DEVICE = LocalDevice()
