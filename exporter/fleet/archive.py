"""A directory as one file, of the same bytes whoever packs it."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import BinaryIO, cast

from slide_export.core.errors import BundleError

FILE_MODE = 0o644


def pack(directory: Path, path: Path) -> str:
    """Write a directory's files, by name, without times, owners and permissions; the archive's sha256."""
    with path.open("wb") as content:
        hashed = _Hashed(content)
        with tarfile.open(fileobj=cast(BinaryIO, hashed), mode="w", format=tarfile.PAX_FORMAT) as archive:
            for file in sorted(directory.rglob("*")):
                if file.is_file():
                    add(archive, file, file.relative_to(directory).as_posix())
    return hashed.digest.hexdigest()


class _Hashed:
    """A file that is written from its beginning to its end, hashed on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def write(self, piece: bytes) -> int:
        """Append."""
        self.digest.update(piece)
        return self._file.write(piece)

    def tell(self) -> int:
        """How much is written."""
        return self._file.tell()


def add(archive: tarfile.TarFile, file: Path, name: str) -> None:
    """Append one file under a name."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = file.stat().st_size, FILE_MODE
    with file.open("rb") as content:
        archive.addfile(entry, content)


def unpack(path: Path, directory: Path) -> None:
    """Write an archive's files into a directory.

    Raises:
        BundleError: it is no archive, or one that reaches outside the directory.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            archive.extractall(directory, filter="data")
    except tarfile.TarError as error:
        raise BundleError(f"expected an archive of a sweep, {path.name} cannot be unpacked: {error}") from error
