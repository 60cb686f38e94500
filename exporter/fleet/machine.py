"""Who runs on this machine at a time: many jobs beside each other, or one that measures, alone.

Two locks of files, of all workers of a user on this machine, whatever sweep they serve. A job that measures holds the
gate while it waits for the others to end, so that no stream of small jobs can keep it waiting. One that measures a
board has that for itself, and its host's other jobs go on.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

HERE = frozenset({"127.0.0.1", "localhost", "::1"})
DEVICE = "SLIDE_EXPORT_FLEET_DEVICE"
"""Variable with the URL of the board that this worker is the host of."""
PLACE = "SLIDE_EXPORT_FLEET_LOCKS"
"""Variable with another directory for the locks."""


@contextmanager
def beside_others() -> Iterator[None]:
    """Run while nothing measures."""
    with _locked("gate", fcntl.LOCK_SH):
        jobs = _lock("jobs", fcntl.LOCK_SH)
    try:
        yield
    finally:
        os.close(jobs)


@contextmanager
def alone(device: str | None = None) -> Iterator[None]:
    """Run while no other job does on the machine that is measured.

    Args:
        device: URL of a board that this machine is the host of; None, or one that leads back, stands for this machine.
    """
    if device is None or urlsplit(device).hostname in HERE:
        with _locked("gate", fcntl.LOCK_EX), _locked("jobs", fcntl.LOCK_EX):
            yield
    else:
        with _locked(f"device-{hashlib.sha256(device.encode()).hexdigest()[:16]}", fcntl.LOCK_EX):
            yield


def place() -> Path:
    """The directory of the locks, of this user alone."""
    found = Path(os.environ.get(PLACE) or Path(tempfile.gettempdir()) / f"slide-export-fleet-{os.getuid()}")
    found.mkdir(mode=0o700, parents=True, exist_ok=True)
    return found


@contextmanager
def _locked(name: str, kind: int) -> Iterator[None]:
    descriptor = _lock(name, kind)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(name: str, kind: int) -> int:
    """A descriptor that holds a lock until it is closed; a process that is killed lets go."""
    descriptor = os.open(place() / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
