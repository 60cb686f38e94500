"""What users name in a plan, by content: checkpoints and images -> sha256, each file read once."""

from __future__ import annotations

import hashlib
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import Any

from slide_export.calibration import images as image_files
from slide_export.core.errors import BackendUnavailable, RequestError
from slide_export.core.files import sha256_of as sha256_of_file
from slide_export.core.text import foreign

from . import archive
from .cas import Store
from .database import Database
from .keys import sha256_of

READERS = 4  # threads that hash: a disk answers several at a time
URL = "://"


@dataclass(frozen=True)
class Source:
    """A checkpoint or a set of images.

    Attributes:
        sha256: of a file's content, or of the names and contents of a directory's files.
        path: here; None where it is in the artifact store alone.
        files: of a directory, for packing.
    """

    sha256: str
    name: str
    path: Path | None = None
    files: tuple[Path, ...] = ()

    def told(self, store: Store | None, *, elsewhere: bool) -> dict[str, Any]:
        """What an order says of it: where it is on this machine, or in the store for workers elsewhere."""
        if self.path is None or (elsewhere and not self.files):
            if self.path is not None and store is not None and not store.has(self.sha256):
                store.put(self.path)
            return {"name": self.name, "sha256": self.sha256, "packed": False}
        if elsewhere and store is not None:
            return {"name": self.name, "sha256": self._packed(store), "packed": True}
        status = self.path.stat()
        seen = [] if self.files else [status.st_size, status.st_mtime_ns]
        return {"name": self.name, "path": str(self.path.absolute()), "seen": seen}

    def _packed(self, store: Store) -> str:
        """sha256 of a directory as one file, which is put into the store."""
        assert self.path is not None
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch) / "packed.tar"
            with tarfile.open(packed, "w", format=tarfile.PAX_FORMAT) as tar:
                for file in self.files:
                    archive.add(tar, file, f"{self.name}/{file.relative_to(self.path).as_posix()}")
            return store.put(packed)


class Digests:
    """sha256 of files, remembered in a sweep's database by path, size and time of change."""

    def __init__(self, database: Database) -> None:
        self._database = database
        rows = database.rows("SELECT path, bytes, changed, sha256 FROM digest")
        self._known = {
            (str(path), int(str(size)), int(str(changed))): str(sha256) for path, size, changed, sha256 in rows
        }

    def of(self, files: Iterable[Path]) -> list[str]:
        """sha256 of each file, in their order; what is known is not read again."""
        places = [(file, self._identity(file)) for file in files]
        new = [(file, identity) for file, identity in places if identity not in self._known]
        with ThreadPoolExecutor(READERS) as pool:
            found = pool.map(sha256_of_file, [file for file, _ in new])
            self._remember({identity: sha256 for (_, identity), sha256 in zip(new, found, strict=True)})
        return [self._known[identity] for _, identity in places]

    def of_url(self, url: str, store: Store) -> Source:
        """A checkpoint elsewhere, in the artifact store.

        Raises:
            RequestError: it cannot be read.
        """
        filesystem, place = _filesystem(url)
        name = PurePosixPath(place).name
        try:
            identity = (url, int(filesystem.size(place) or 0), int(filesystem.ukey(place)[:15], 16))
            known = self._known.get(identity)
            if known is not None and store.has(known):
                return Source(known, name)
            with tempfile.TemporaryDirectory() as scratch:
                fetched = Path(scratch) / name
                filesystem.get_file(place, str(fetched))
                sha256 = store.put(fetched)
        except (OSError, ValueError) as error:
            raise RequestError(f"expected a checkpoint at {foreign(url, 300)}, it cannot be read: {error}") from error
        self._remember({identity: sha256})
        return Source(sha256, name)

    def _identity(self, file: Path) -> tuple[str, int, int]:
        status = file.stat()
        return str(file.absolute()), status.st_size, status.st_mtime_ns

    def _remember(self, new: dict[tuple[str, int, int], str]) -> None:
        self._known.update(new)

        def write(db: sqlite3.Connection) -> None:
            """Add the new ones."""
            db.executemany(
                "INSERT OR REPLACE INTO digest VALUES(?,?,?,?)",
                [(*identity, sha256) for identity, sha256 in new.items()],
            )

        if new:
            with self._database.transaction() as db:
                write(db)


def _filesystem(url: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as error:
        raise BackendUnavailable(
            f"expected the package fsspec to read {foreign(url, 300)}, found it not installed: "
            "pip install 'slide-export[fleet]'"
        ) from error
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise RequestError(f"expected a URL that fsspec can read, found {foreign(url, 300)}: {error}") from error
    return found


def named(pattern: str, beside: Path, what: str = "a checkpoint") -> list[Path]:
    """Files and folders that a path or a glob of a plan names, in their order.

    Args:
        beside: the directory that relative paths start from.
        what: they are, for the refusal.

    Raises:
        RequestError: there is none.
    """
    place = str(beside / pattern)
    found = sorted(Path(one) for one in glob(place, recursive=True)) if has_magic(pattern) else [Path(place)]  # noqa: PTH207  # of absolute ones too
    if not found or not found[0].exists():
        where = "that matches" if has_magic(pattern) else "at"
        raise RequestError(f"expected {what} {where} {foreign(place, 300)}, found none")
    return found


def the_one(pattern: str, beside: Path) -> Path:
    """The only file or folder that a path or a glob of a plan names.

    Raises:
        RequestError: there is none, or there are several.
    """
    found = named(pattern, beside, "images")
    if len(found) > 1:
        raise RequestError(f"expected images at one place, found {len(found)} that match {foreign(pattern, 300)}")
    return found[0]


def of_path(path: Path, digests: Digests) -> Source:
    """A file, or a folder with all that is in it."""
    if path.is_file():
        return Source(digests.of([path])[0], path.name, path)
    return of_files(path, [file for file in sorted(path.rglob("*")) if file.is_file()], digests)


def of_images(path: Path, digests: Digests) -> Source:
    """Images as `--images` takes them: of a folder the pictures alone, of a list all that it names.

    Raises:
        CalibrationError: there is none.
    """
    if path.is_file() and path.suffix.lower() != ".csv":
        return of_path(path, digests)
    found = image_files.find(path)
    if path.is_dir():
        return of_files(path, list(found.files), digests)
    source = of_files(found.root, [path, *found.files], digests)
    return Source(source.sha256, path.name, path)


def of_files(root: Path, files: list[Path], digests: Digests) -> Source:
    """A directory's files by name and content."""
    listed = list(_listed(root, files, digests.of(files)))
    return Source(sha256_of(listed), root.resolve().name, root, tuple(files))


def _listed(root: Path, files: list[Path], found: list[str]) -> Iterator[tuple[str, str]]:
    for file, sha256 in zip(files, found, strict=True):
        yield file.relative_to(root).as_posix(), sha256


def distinct(paths: list[str]) -> list[str]:
    """A name for each path, as short as tells them apart.

    Given   runs/a/best.pth, runs/b/best.pth, c.pth
    Result  a-best, b-best, c
    """
    parts = [PurePosixPath(path).with_suffix("").parts for path in paths]
    depth = [1] * len(paths)
    while True:
        names = ["-".join(part for part in one[-deep:] if part != "/") for one, deep in zip(parts, depth, strict=True)]
        twice = {name for name in names if names.count(name) > 1}
        deeper = [i for i, name in enumerate(names) if name in twice and depth[i] < len(parts[i])]
        if not deeper:
            break
        for index in deeper:
            depth[index] += 1
    return [f"{name}-{hashlib.sha256(path.encode()).hexdigest()[:8]}" if name in twice else name
            for name, path in zip(names, paths, strict=True)]  # fmt: skip
