"""A directory as the medium of a store: renamed and linked into place, so that nothing is seen half written."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from slide_export.core import hidden
from slide_export.core.errors import WriteError
from slide_export.core.files import flush

from .cas import copied, unwritten

NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})
SCRATCH, LOCK = "tmp", "lock"


class Directory:
    """Files below a directory, which may be one of the network that several machines have mounted."""

    def __init__(self, root: Path) -> None:
        self.url, self._root = str(root), root.absolute()
        self._loose: list[Path] = []  # taken, and not on the disk yet

    def add(self, name: str, source: Path) -> str:
        """Copy a file beside its place, flush it and rename it there."""
        with self._writing(name) as (partial, place):
            with source.open("rb") as content:
                sha256 = copied(content, partial)
            flush(partial)
            partial.replace(place)
            flush(place.parent)
        return sha256

    def take(self, name: str, source: Path) -> None:
        """Rename a file to its place, or copy it there from another file system."""
        if self.size(name) != source.stat().st_size:
            with self._writing(name) as (partial, place):
                try:
                    source.replace(place)
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                    shutil.copyfile(source, partial)
                    partial.replace(place)
        self._loose.append(self._root / name)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file whole and link it to its name, which the system does for one writer alone.

        What it may name is flushed first. The link itself is not waited for: a machine that loses power loses the
        last answers, whole, and those jobs run again.
        """
        loose, self._loose = self._loose, []
        if (self._root / name).exists():
            return False
        with self._writing(name) as (partial, place):
            partial.write_bytes(content)
            _flush_each([*dict.fromkeys(loose), partial])
            return _linked(partial, place) if _knows_links(partial) else self._renamed(partial, place)

    def read(self, name: str) -> bytes | None:
        """Content of a small file."""
        found = self.open(name)
        if found is None:
            return None
        with self._reading(name), found:
            return found.read()

    def open(self, name: str) -> BinaryIO | None:
        """A file, to be read piece by piece."""
        with self._reading(name):
            try:
                return (self._root / name).open("rb")
            except FileNotFoundError:
                return None

    def size(self, name: str) -> int | None:
        """Bytes of a file."""
        with self._reading(name):
            try:
                return (self._root / name).stat().st_size
            except FileNotFoundError:
                return None

    def names(self, directory: str) -> set[str]:
        """Names in a directory; none where nothing was written yet."""
        with self._reading(directory):
            try:
                return {path.name for path in (self._root / directory).iterdir()}
            except FileNotFoundError:
                return set()

    def refuse_unwritable(self) -> None:
        """Make the directory and look whether files can be made in it."""
        with self._reading(""):
            self._root.mkdir(parents=True, exist_ok=True)
        if not os.access(self._root, os.W_OK | os.X_OK):
            raise WriteError(f"expected an artifact store that can be written, nothing can be in {self.url}")

    def remove(self, name: str) -> None:
        """Remove a file."""
        with self._reading(name):
            (self._root / name).unlink(missing_ok=True)

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritten(error, self._root / name, self.url) from error

    @contextmanager
    def _writing(self, name: str) -> Iterator[tuple[Path, Path]]:
        """A path for new content on the same file system, removed at the end, and its place."""
        place = self._root / name
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            (self._root / SCRATCH).mkdir(exist_ok=True)
            with hidden.directory(self._root / SCRATCH) as scratch:
                yield scratch / "content", place
        except OSError as error:
            raise unwritten(error, place, self.url) from error

    def _renamed(self, partial: Path, place: Path) -> bool:
        """Rename to a name that is free, where the file system has no links: one writer at a time looks and renames."""
        import fcntl

        descriptor = os.open(self._root / SCRATCH / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if place.exists():
                return False
            partial.rename(place)
            return True
        finally:
            os.close(descriptor)  # which lets go of the lock


def _flush_each(paths: Sequence[Path]) -> None:
    """Flush files beside each other, which a disk does in one go.

    A file's own name is on the disk with it where a file system keeps a journal; one that does not is found missing by
    who reads it, and is made again.
    """
    with ThreadPoolExecutor(len(paths)) as pool:
        list(pool.map(flush, paths))


def _knows_links(partial: Path) -> bool:
    """Whether the file system has hard links; exFAT and some of the network have none."""
    try:
        os.link(partial, partial.with_name("link"))
    except OSError as error:
        if error.errno in NO_LINKS:
            return False
        raise
    return True


def _linked(partial: Path, place: Path) -> bool:
    """Whether the link to a place is ours."""
    before = partial.stat().st_nlink
    try:
        os.link(partial, place)
    except FileExistsError:
        # NFS repeats a call whose answer was lost, and then finds its own link: the count tells.
        return partial.stat().st_nlink > before
    return True
