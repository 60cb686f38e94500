"""What a worker keeps of the artifact store, fetched once a machine: the least recently used goes first."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slide_export.core import cache, hidden

if TYPE_CHECKING:
    from .cas import Store

PLACE = "SLIDE_EXPORT_FLEET_CACHE"
"""Variable with the cache's directory."""
LARGEST = "SLIDE_EXPORT_FLEET_CACHE_GIB"
"""Variable with its size."""
LARGEST_GIB = 20.0
IN_USE_S = 3600.0  # what was used since is not removed: a job may be reading it
WEIGHED = 64  # a process weighs the whole again after each such part of its size that it added


def root() -> Path:
    """The cache's directory."""
    given = os.environ.get(PLACE)
    return Path(given) if given else cache.place("fleet")


def jobs() -> Path:
    """Where jobs have their directories; what a killed worker left there goes when the next job starts."""
    place = root() / "jobs"
    place.mkdir(parents=True, exist_ok=True)
    return place


def fetched(store: Store, sha256: str, unpack: Callable[[Path, Path], None] | None) -> Path:
    """The content of a sha256, as a file or unpacked as a directory, fetched by one process at a time."""
    place = root() / ("unpacked" if unpack else "files") / sha256
    with _locked(sha256):
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            with hidden.directory(place.parent) as scratch:
                content = scratch / "content"
                store.fetch(sha256, content)
                if unpack is not None:
                    unpacked = scratch / "unpacked"
                    unpacked.mkdir()
                    unpack(content, unpacked)
                    content = unpacked
                content.rename(place)
            _shrink(keep=place)
        os.utime(place)
    return place


def keep(sha256: str, made: Path) -> None:
    """Take a directory of a job's as the unpacked content of a sha256: jobs that read it here need not fetch it."""
    place = root() / "unpacked" / sha256
    with _locked(sha256):
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            made.rename(place)
            _shrink(keep=place)


@contextmanager
def _locked(sha256: str) -> Iterator[None]:
    """Hold the lock of one content; a process that is killed lets go."""
    locks = root() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(locks / sha256[:2], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@dataclass
class _Added:
    """Bytes that this process has added since it weighed the cache last."""

    bytes: float = float("inf")


_added = _Added()


def _shrink(keep: Path) -> None:
    """Remove what was not used for longest until the rest fits; looked at now and then."""
    most = float(os.environ.get(LARGEST) or LARGEST_GIB) * (1 << 30)
    _added.bytes += _size(keep)
    if _added.bytes < most / WEIGHED:
        return
    _added.bytes = 0.0
    entries = [(entry.stat().st_mtime, _size(entry), entry) for entry in _entries()]
    total = sum(size for _, size, _ in entries)
    newest = keep.stat().st_mtime
    for used, size, entry in sorted(entries):
        if total <= most:
            return
        if entry != keep and newest - used > IN_USE_S:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
            total -= size


def _entries() -> Iterator[Path]:
    for kind in ("files", "unpacked"):
        if (place := root() / kind).is_dir():
            yield from (entry for entry in place.iterdir() if not entry.name.startswith("."))


def _size(entry: Path) -> int:
    files = entry.rglob("*") if entry.is_dir() else (entry,)
    return sum(file.stat().st_size for file in files if file.is_file())
