"""Hidden directories in which a run writes what is renamed to its place once it is whole.

Each is locked while its process lives. One that nobody locks was left by a killed run: the next run that writes beside
it removes it, after putting back what the killed one had moved aside.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

NAME = re.compile(r"\.slide-export-[0-9a-f]{16}")
ASIDE = "aside"
"""In a hidden directory: holds, under its own name, what stood at the place that is written to."""

log = logging.getLogger(__name__)


@contextmanager
def directory(parent: Path) -> Iterator[Path]:
    """A new empty directory in `parent`, hidden, locked, and removed at the end; those of killed runs go first.

    What is moved to its `ASIDE` is put back at the end where nothing took its place.

    Raises:
        OSError: the system does not let it.
    """
    sweep(parent)
    path, lock = _make(parent)
    try:
        yield path
    finally:
        _end(path)
        os.close(lock)


def sweep(parent: Path) -> None:
    """Remove what killed runs have left in a directory, and put back what they had moved aside."""
    try:
        left = [path for path in parent.iterdir() if NAME.fullmatch(path.name)]
    except OSError:
        return  # none yet, or not to be read: there is nothing to sweep
    for path in left:
        with suppress(OSError):  # another run was first, or it is somebody else's
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if _locked(descriptor):
                    _end(path)
            finally:
                os.close(descriptor)


def _make(parent: Path) -> tuple[Path, int]:
    """A directory and the descriptor that locks it; another one where a sweep came in between."""
    while True:
        path = parent / f".slide-export-{secrets.token_hex(8)}"
        path.mkdir(0o700)
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        except BaseException:
            path.rmdir()
            raise
        with suppress(FileNotFoundError):
            if _locked(lock, default=True) and os.path.samestat(path.stat(), os.fstat(lock)):
                return path, lock
        os.close(lock)


def _locked(descriptor: int, *, default: bool = False) -> bool:
    """Whether this process has the lock now; `default` where the file system knows none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return default and error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def _end(path: Path) -> None:
    """Put back what was moved aside, and remove the rest; the only copy of anything stays."""
    for older in _aside(path):
        place = path.parent / older.name
        try:
            if not os.path.lexists(place):
                older.rename(place)
                log.warning("%s was moved aside by a run that did not end, and is back", place)
        except OSError as error:
            log.warning("%s is left in %s: %s", place, older, error)
            return
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        log.warning("%s is no part of any bundle and could not be removed; the next run tries again", path)


def _aside(path: Path) -> list[Path]:
    try:
        return list((path / ASIDE).iterdir())
    except OSError:
        return []
