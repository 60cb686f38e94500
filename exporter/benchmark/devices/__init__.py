"""Where artifacts run: on this machine, on another one over ssh, on a phone over adb.

What is measured, in which order, and what it means, is `latency`'s; a place knows how to get an artifact there, how to
start a process there and how to ask what the machine is. A file here is a kind of place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Protocol

from slide_export.core.errors import RequestError
from slide_export.core.progress import Progress, no_progress

if TYPE_CHECKING:
    from slide_export.benchmark.environment import StealTime
    from slide_export.benchmark.process import Measured
    from slide_export.core.measurement import Environment

    from .remote_python import RemotePythonDevice

KINDS: Mapping[str, str] = {
    "ssh": "ssh://[user@]host[:port][/directory], a Linux machine with Python 3.10 or later",
    "adb": "adb:SERIAL, an Android phone, with --runner FILE, a command-line runner built for it",
}
"""Of `--device`, by how the word begins; any other word is a name for this machine."""


@dataclass(frozen=True)
class Readiness:
    """What a target can do at a place.

    Attributes:
        obstacle: why its artifacts cannot run there, None where they can.
        stand_in: what runs there in the place of the target's runtime and what its time is worth, else None.
    """

    obstacle: str | None
    stand_in: str | None


class Device(Protocol):
    """A machine that runs artifacts."""

    name: str
    """What a result calls it."""

    def prepare(self, manifests: Sequence[Mapping[str, Any]]) -> None:
        """Sees to it that the bundles of these manifests can run there.

        Raises:
            BackendUnavailable: a bundle's target never runs on a device of this kind.
            DeviceError: the device lacks what they need, and it cannot be had.
        """

    def processors(self) -> tuple[int, ...]:
        """Returns the processors that a process may use there."""

    def affinity(self, threads: int) -> tuple[int, ...]:
        """Returns the processors to bind to, one a thread; none where the system binds nothing."""

    def readiness(self, target: str, precision: str) -> Readiness:
        """Returns what a target can do there.

        Raises:
            RequestError: there is no such target, or it lacks the precision.
            BackendUnavailable: its runtime is not installed there.
        """

    def fingerprint(self, threads: int, targets: Sequence[str]) -> tuple[Environment, StealTime]:
        """Returns what the machine is, and a watch over what its host takes from it."""

    def doubts(self, theft: StealTime) -> tuple[str, ...]:
        """Returns what went on meanwhile that makes times doubtful."""

    def put(self, path: Path) -> PurePath:
        """Returns where a file or directory of this machine lies at that place, after bringing it there."""

    def worker(
        self, name: str, order: Mapping[str, Any], threads: int, timeout_s: float
    ) -> AbstractContextManager[Measured]:
        """Returns what runs one artifact there; see `measuring.process.Worker`."""


def kind_of(device: str) -> str | None:
    """Returns the kind of place that `--device` names, None where it is a name for this machine."""
    return next((kind for kind in KINDS if device.startswith(f"{kind}:")), None)


def proving_at(
    device: str, *, keep: bool = False, step: Progress = no_progress
) -> AbstractContextManager[RemotePythonDevice]:
    """Returns a place that gives outputs back, so that a proof can be judged here; see `at`.

    Raises:
        RequestError: the word names no such place.
    """
    if kind_of(device) != "ssh":
        raise RequestError(f"expected {KINDS['ssh']} for a proof, found {device!r}")
    from .ssh import Ssh

    return Ssh(device, keep=keep, step=step)


def at(
    device: str, *, keep: bool = False, runner: Path | None = None, step: Progress = no_progress
) -> AbstractContextManager[Device]:
    """Returns the place that `--device` names; the context ends with what was made there removed.

    Args:
        device: a word of `KINDS`, or a name for this machine.
        keep: leave what was made there, and tell where it is.
        runner: a program for the phone, where the device is one.

    Raises:
        RequestError: the word is malformed, or an option does not fit it.
        DeviceError: the device cannot be reached.
    """
    kind = kind_of(device)
    if runner is not None and kind != "adb":
        raise RequestError(f"expected --runner with --device adb:SERIAL, found it with {device!r}")
    if kind == "ssh":
        from .ssh import Ssh

        return Ssh(device, keep=keep, step=step)
    if kind == "adb":
        from .adb import Adb

        return Adb(device, runner, keep=keep, step=step)
    if keep:
        raise RequestError(f"expected --keep with a device elsewhere, found {device!r}, a name for this machine")
    from .local import LocalDevice

    return LocalDevice(device)
