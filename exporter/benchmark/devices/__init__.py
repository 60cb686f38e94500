"""Devices that run artifacts: this machine, another one over ssh, a phone over adb. A file here is a kind of device.

What is measured, in which order, and what it means, is up to `rounds`; a device knows how to get an artifact there, how
to start a process there and how to ask what the machine is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Protocol

from slide_export.benchmark.plan import DeviceRequest
from slide_export.core.errors import RequestError, option
from slide_export.core.progress import Progress, no_progress

if TYPE_CHECKING:
    from slide_export.benchmark.environment import StealTime
    from slide_export.benchmark.process import ArtifactWorker
    from slide_export.bundle.manifest import Manifest
    from slide_export.core.measurement import Environment, Peaks

    from .remote_python import RemotePythonDevice

KINDS: Mapping[str, str] = {
    "ssh": "ssh://[user@]host[:port][/directory], a Linux machine with Python 3.10 or later",
    "adb": "adb:SERIAL, an Android phone, with a command-line runner built for it",
}
"""Kinds of device elsewhere, by the scheme that its address begins with; any other word is a name for this machine."""


@dataclass(frozen=True)
class Readiness:
    """What a target can do on a device.

    Attributes:
        unavailable_reason: why its artifacts cannot run there, None where they can.
        substitute_runtime: the evaluator used there instead of the target's runtime and why its time does not count, or
            None.
    """

    unavailable_reason: str | None
    substitute_runtime: str | None


class Device(Protocol):
    """A machine that runs artifacts."""

    name: str
    """Name in results and messages."""

    def prepare(self, manifests: Sequence[Manifest]) -> None:
        """Make the bundles of these manifests runnable there.

        Raises:
            BackendUnavailable: a bundle's target never runs on a device of this kind.
            DeviceError: the device lacks what they need, and it cannot be had.
        """

    def processors(self) -> tuple[int, ...]:
        """Processors that a process may use there."""

    def affinity(self, threads: int) -> tuple[int, ...]:
        """Processors to bind to, one for each thread; none where the system binds nothing."""

    def readiness(self, target: str, precision: str) -> Readiness:
        """What a target can do there.

        Raises:
            RequestError: there is no such target, or it lacks the precision.
            BackendUnavailable: its runtime is not installed there.
        """

    def fingerprint(self, threads: int, targets: Sequence[str]) -> tuple[Environment, StealTime]:
        """The machine, and a running measurement of the CPU time that its host steals from it."""

    def doubts(self, steal_time: StealTime) -> tuple[str, ...]:
        """Events during the measurement that make its times doubtful, one sentence each."""

    def peaks(self, threads: int, kinds: Sequence[str]) -> Peaks | None:
        """What it reaches at best in these element types; None where it cannot be measured there."""

    def put(self, path: Path) -> PurePath:
        """Copy a file or directory of this machine to the device; give its path there."""

    def worker(
        self, name: str, job: Mapping[str, Any], threads: int, timeout_s: float
    ) -> AbstractContextManager[ArtifactWorker]:
        """A process there that runs one artifact; see `process.Worker`."""


def kind_of(address: str) -> str | None:
    """Kind of a device by its address, None for a name of this machine: `ssh://board` -> `ssh`."""
    return next((kind for kind in KINDS if address.startswith(f"{kind}:")), None)


def connect_for_proof(
    address: str, *, keep: bool = False, step: Progress = no_progress
) -> AbstractContextManager[RemotePythonDevice]:
    """Connect to a device that returns outputs, so that a proof can be judged here; see `connect`.

    Raises:
        RequestError: the address is of no such device.
    """
    if kind_of(address) != "ssh":
        raise RequestError(f"expected {KINDS['ssh']} for a proof, found {address!r}")
    from .ssh import SshDevice

    return SshDevice(address, keep=keep, step=step)


def connect(request: DeviceRequest, *, step: Progress = no_progress) -> AbstractContextManager[Device]:
    """Connect to the device of a request; leaving the context removes what was made there.

    Raises:
        RequestError: the address is malformed, or a field does not fit it.
        DeviceError: the device cannot be reached.
    """
    kind = kind_of(request.name)
    if request.runner is not None and kind != "adb":
        raise RequestError(f"{option('runner')} goes with the device adb:SERIAL, found it with {request.name!r}")
    if kind == "ssh":
        from .ssh import SshDevice

        return SshDevice(request.name, keep=request.keep, step=step)
    if kind == "adb":
        from .adb import AdbDevice

        return AdbDevice(request, step=step)
    if request.keep:
        raise RequestError(
            f"{option('keep')} goes with a device elsewhere, found {request.name!r}, a name for this machine"
        )
    from .local import LocalDevice

    return LocalDevice(request.name)
