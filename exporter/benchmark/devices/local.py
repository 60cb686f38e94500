"""This machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slide_export.backends import registry as backends
from slide_export.benchmark import environment
from slide_export.benchmark.environment import StealTime
from slide_export.benchmark.process import Worker
from slide_export.core.measurement import Environment

from . import Readiness

NAME = "this machine"


class LocalDevice:
    """This machine: paths are paths, and a worker is a child of this process."""

    def __init__(self, name: str = NAME) -> None:
        """Names it."""
        self.name = name

    def __enter__(self) -> LocalDevice:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def prepare(self, manifests: Sequence[Mapping[str, Any]]) -> None:
        """Installs nothing: the user's environment is the user's."""

    def processors(self) -> tuple[int, ...]:
        """Returns the processors that this process may use."""
        return environment.usable()

    def affinity(self, threads: int) -> tuple[int, ...]:
        """Returns the processors to bind to; see `Place`."""
        return environment.affinity(threads)

    def readiness(self, target: str, precision: str) -> Readiness:
        """Returns what a target can do here; see `Place`."""
        backend = backends.require(target, precision)
        return Readiness(backend.obstacle(), backend.stand_in())

    def fingerprint(self, threads: int, targets: Sequence[str]) -> tuple[Environment, StealTime]:
        """Returns what this machine is; see `Place`."""
        return environment.fingerprint(self.name, threads, targets), StealTime.begin()

    def doubts(self, theft: StealTime) -> tuple[str, ...]:
        """Returns what its host took away meanwhile."""
        return theft.doubts()

    def put(self, path: Path) -> Path:
        """Returns the path: it is here already."""
        return path

    def worker(self, name: str, order: Mapping[str, Any], threads: int, timeout_s: float) -> Worker:
        """Returns a process that runs one artifact."""
        return Worker(name, order, threads, timeout_s)


LOCAL_DEVICE = LocalDevice()
