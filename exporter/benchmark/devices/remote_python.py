"""Base of devices with a Python interpreter, reached through the zipapp `device_runner.pyz`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path, PurePath
from typing import Any

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.backends.interface import Backend
from slide_export.benchmark.environment import StealTime
from slide_export.benchmark.process import Process, Worker
from slide_export.bundle.manifest import Manifest
from slide_export.core.errors import BackendUnavailable, RequestError, SlideExportError
from slide_export.core.measurement import Environment, Peaks

from . import Readiness, device_runner

ANSWER_TIMEOUT_S = 120.0  # a small board needs many seconds to import a large runtime


class RemotePythonDevice:
    """Device that answers through the runner. A subclass knows how to start it and how to copy files there."""

    name: str

    def __init__(self, name: str) -> None:
        """Name the device as results shall call it."""
        self.name = name
        self.notes: tuple[str, ...] = ()
        """Effects of `prepare` that make times doubtful, one sentence each."""
        self._processors: dict[str, Any] | None = None

    def command(self, role: str, threads: int) -> Sequence[str]:
        """Command here that starts the runner there in a role, `worker` or `surroundings`."""
        raise NotImplementedError

    def put(self, path: Path) -> PurePath:
        """Copy a file or directory there; see `Device`."""
        raise NotImplementedError

    def explain(self, code: int, message: str) -> SlideExportError | None:
        """Error behind the end of a process, None where it only crashed."""
        return None

    def ask(self, question: str, given: Any = None) -> dict[str, Any]:
        """Answer to a question of `benchmark.surroundings`."""
        command = self.command("surroundings", 1)
        with Process(f"the runner on {self.name}", command, 1, ANSWER_TIMEOUT_S, self.explain) as process:
            return process.ask({question: given})

    def prepare(self, manifests: Sequence[Manifest]) -> None:
        """Install what the bundles need and the device lacks; see `Device`."""
        wanted = needs(manifests)
        missing = self.ask("missing", [*wanted])["missing"]
        if missing:
            self.install({name: wanted[name] for name in missing})

    def install(self, wanted: Mapping[str, str]) -> None:
        """Make distributions importable there, by name and version ("" takes any).

        Raises:
            DeviceError: they cannot be had.
        """
        raise BackendUnavailable(f"expected {' and '.join(wanted)} on {self.name}, found none: install it there")

    def processors(self) -> tuple[int, ...]:
        """Processors that a process may use there."""
        return tuple(self._usable()["processors"])

    def affinity(self, threads: int) -> tuple[int, ...]:
        """Processors to bind to; see `Device`."""
        return self.processors()[:threads] if self._usable()["binds"] else ()

    def _usable(self) -> dict[str, Any]:
        if self._processors is None:
            self._processors = self.ask("processors")
        return self._processors

    def readiness(self, target: str, precision: str) -> Readiness:
        """What a target can do there; see `Device`."""
        portable(target)
        backends.refuse_unknown_precision(target, precision)
        return Readiness(**self.ask("readiness", target))

    def fingerprint(self, threads: int, targets: Sequence[str]) -> tuple[Environment, StealTime]:
        """The machine; see `Device`."""
        answer = self.ask("fingerprint", {"device": self.name, "threads": threads, "targets": list(targets)})
        tuples = {name: tuple(answer["environment"][name]) for name in ("flags", "warnings")}  # lists in JSON
        machine = Environment(**{**answer["environment"], **tuples})
        return replace(machine, warnings=machine.warnings + self.notes), StealTime(**answer["steal_time"])

    def doubts(self, steal_time: StealTime) -> tuple[str, ...]:
        """Warning about the CPU time that its host stole."""
        return tuple(self.ask("doubts", asdict(steal_time))["doubts"])

    def peaks(self, threads: int, kinds: Sequence[str]) -> Peaks | None:
        """None: what measures them is not on the device."""
        return None

    def worker(self, name: str, job: Mapping[str, Any], threads: int, timeout_s: float) -> Worker:
        """A process there that runs one artifact."""
        label = f"{name} on {self.name}"
        return Worker(label, job, threads, timeout_s, self.command("worker", threads), self.explain)


def portable(target: str) -> Backend:
    """Backend of a target that a device can run with a runner.

    Raises:
        RequestError: there is no such target.
        BackendUnavailable: no device runs it so.
    """
    backend = backends.load(target)
    if not optional.device_distributions(backend):
        raise BackendUnavailable(
            f"expected a target of {', '.join(device_runner.targets())} for a device, found {target}: "
            "deploy_examples/ has programs that measure it where it runs"
        )
    return backend


def needs(manifests: Sequence[Manifest]) -> dict[str, str]:
    """Distributions that bundles need on a device, with the versions that they were made with ("": unknown).

    Raises:
        RequestError: a bundle's artifact needs a library that this machine's compiler has built.
    """
    versions: dict[str, str] = {}
    for manifest in manifests:
        if manifest.native is not None:
            raise RequestError(
                f"expected a bundle without a library of its own for a device, found {manifest.name} in form native: "
                f"take the bundle in its folder {manifest.portable}"
            )
        for name in optional.device_distributions(portable(manifest.target)):
            asked = (
                manifest.versions.get(one, "") for one in (name, name.replace("_", "-"))
            )  # as a module, as published
            versions.setdefault(name, next(filter(None, asked), ""))
    return versions
