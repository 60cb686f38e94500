"""Files: their fingerprint, and text that is written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from .errors import RequestError


def sha256_of(path: Path) -> str:
    """sha256 of a file in hexadecimal, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(path: Path, text: str) -> None:
    """Write text beside its destination and rename it there; missing directories are made.

    Raises:
        RequestError: the system does not let it.
    """
    try:
        resolved = path.resolve()  # a link stays one
        resolved.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=f".{resolved.name}.", dir=resolved.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            Path(partial).chmod(0o644)
            Path(partial).replace(resolved)
        finally:
            with suppress(FileNotFoundError):
                Path(partial).unlink()
    except OSError as error:
        raise RequestError(f"expected to write {path}, the system says: {error}; nothing was kept") from error


def append(path: Path, text: str) -> None:
    """Append text to a file after a blank line; a missing file is made.

    Raises:
        RequestError: the system does not let it.
    """
    try:
        before = path.read_text(encoding="utf-8").rstrip("\n") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"expected a text file to append to, {path} cannot be read: {error}") from error
    write(path, f"{before}\n\n{text}" if before else text)


def refuse_unwritable(path: Path) -> None:
    """Refuse a path that no file can be written to, before the work whose result it is for.

    Raises:
        RequestError: it is a directory, a device or a pipe, or a file stands where its directory would be.
    """
    if path.exists() and not path.is_file():
        raise RequestError(f"expected a place for a file, found {path}, which is a directory or a device: name a file")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise RequestError(f"expected a place for a file, found {path}: nothing can be written in {above}")
