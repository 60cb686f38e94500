"""A place that a `runner` answers from: what every kind of machine elsewhere with a Python has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from slide_export.backends import registry as backends
from slide_export.backends.interface import Backend
from slide_export.benchmark.environment import StealTime
from slide_export.benchmark.process import Process, Worker
from slide_export.core.errors import BackendUnavailable, SlideExportError
from slide_export.core.measurement import Environment

from . import Readiness
from . import device_runner as runner

ASK_S = 120.0  # a small board needs many seconds to import a large runtime


class RemotePythonDevice:
    """Asks the runner. A kind of place says how to start it and how to bring files there."""

    name: str

    def __init__(self, name: str) -> None:
        """Names it."""
        self.name = name
        self.notes: tuple[str, ...] = ()
        """What `prepare` did that makes times doubtful, a sentence each."""
        self._processors: dict[str, Any] | None = None

    def command(self, role: str, threads: int) -> Sequence[str]:
        """Returns what starts the runner there in a role, `worker` or `surroundings`."""
        raise NotImplementedError

    def put(self, path: Path) -> PurePath:
        """Returns where a file or directory lies there; see `Place`."""
        raise NotImplementedError

    def explain(self, code: int, said: str) -> SlideExportError | None:
        """Returns what really happened to a process that ended so, None where it only crashed."""
        return None

    def ask(self, question: str, given: Any = None) -> dict[str, Any]:
        """Returns the answer to a question of `measuring.surroundings`."""
        command = self.command("surroundings", 1)
        with Process(f"the runner on {self.name}", command, 1, ASK_S, self.explain) as process:
            return process.ask({question: given})

    def prepare(self, manifests: Sequence[Mapping[str, Any]]) -> None:
        """Sees to it that what the bundles need is there; see `Place`."""
        wanted = needs(manifests)
        missing = self.ask("missing", [*wanted])["missing"]
        if missing:
            self.install({name: wanted[name] for name in missing})

    def install(self, wanted: Mapping[str, str]) -> None:
        """Makes distributions importable there, by name and version ("" takes any).

        Raises:
            DeviceError: they cannot be had.
        """
        raise BackendUnavailable(f"expected {' and '.join(wanted)} on {self.name}, found none: install it there")

    def processors(self) -> tuple[int, ...]:
        """Returns the processors that a process may use there."""
        return tuple(self._usable()["processors"])

    def affinity(self, threads: int) -> tuple[int, ...]:
        """Returns the processors to bind to; see `Place`."""
        return self.processors()[:threads] if self._usable()["binds"] else ()

    def _usable(self) -> dict[str, Any]:
        if self._processors is None:
            self._processors = self.ask("processors")
        return self._processors

    def readiness(self, target: str, precision: str) -> Readiness:
        """Returns what a target can do there; see `Place`."""
        portable(target)
        backends.refuse_unknown_precision(target, precision)
        return Readiness(**self.ask("readiness", target))

    def fingerprint(self, threads: int, targets: Sequence[str]) -> tuple[Environment, StealTime]:
        """Returns what the machine is; see `Place`."""
        said = self.ask("fingerprint", {"device": self.name, "threads": threads, "targets": list(targets)})
        told = {name: tuple(said["environment"][name]) for name in ("flags", "warnings")}
        machine = Environment(**{**said["environment"], **told})
        return replace(machine, warnings=machine.warnings + self.notes), StealTime(**said["theft"])

    def doubts(self, theft: StealTime) -> tuple[str, ...]:
        """Returns what its host took away meanwhile."""
        return tuple(self.ask("doubts", {"stolen_s": theft.stolen_s, "began_s": theft.began_s})["doubts"])

    def worker(self, name: str, order: Mapping[str, Any], threads: int, timeout_s: float) -> Worker:
        """Returns a process there that runs one artifact."""
        label = f"{name} on {self.name}"
        return Worker(label, order, threads, timeout_s, self.command("worker", threads), self.explain)


def portable(target: str) -> Backend:
    """Returns the backend of a target that a device can run with a runner.

    Raises:
        RequestError: there is no such target.
        BackendUnavailable: no device runs it so.
    """
    backend = backends.load(target)
    if not backend.DEVICE:
        raise BackendUnavailable(
            f"expected a target of {', '.join(runner.targets())} for a device, found {target}: "
            "deploy_examples/ has programs that measure it where it runs"
        )
    return backend


def needs(manifests: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Returns the distributions that bundles need on a device, with the versions that they were made with."""
    found: dict[str, str] = {}
    for manifest in manifests:
        for name in portable(manifest["target"]).DEVICE:
            found.setdefault(name, manifest["versions"].get(name, ""))
    return found
