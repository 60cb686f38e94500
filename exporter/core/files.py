"""Files: their fingerprint, text that is written whole or not at all, and what a place that cannot be written says."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import hidden
from .errors import RequestError, WriteError

UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG})
NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM})
WORDS = re.compile("|".join((*map(os.strerror, sorted(UNWRITABLE)), "iostream error")))
"""Of the system in other libraries' errors; the last is all that a C++ stream says (OpenVINO)."""
UNOPENED = re.compile(
    r"([Cc]an't|[Cc]annot|[Uu]nable to|[Ff]ailed to) ((open|write)\b[\w ]*|create\b[\w ]*\b(file|folder|directory))"
    "|Permission denied|A valid manifest does not exist"
)
"""Of other libraries that were to write a file: OpenVINO, coremltools. A runtime may fail to create what is no file.

The last is what coremltools says of a package whose manifest it could not write.
"""
NO_MEMORY = re.compile(
    "bad_alloc|[Ff]ailed to allocate|([Cc]annot|[Cc]an't) allocate memory|not enough memory|[Oo]ut of memory"
)
"""Of runtimes in C++ that raise no MemoryError: OpenVINO, ONNX Runtime, PyTorch's allocator."""
FULL_BYTES = 1 << 16  # free on a file system that is called full
TEXT = "text"


def sha256_of(path: Path) -> str:
    """sha256 of a file in hexadecimal, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_not_utf8(path: Path, what: str) -> None:
    """Refuse a path that runtimes cannot open and manifests cannot hold, before any work.

    Raises:
        RequestError: its name is no UTF-8, or the locale makes other bytes of it.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise RequestError(
            f"expected {what} whose name is UTF-8, found {str(path)!r}: rename it, or set a UTF-8 locale"
        ) from None


def write_refusal(error: BaseException, place: Path | None, *, writes_alone: bool = False) -> str | None:
    """Which place cannot be written and why, in half a sentence; None for an error that the disk has no part in.

    Args:
        error: what was raised; the cause may be deep in its chain, or hidden in another library's words.
        place: what was being written where the error itself does not say; None for temporary files.
        writes_alone: a file that another library could not open was to be written, not read.
    """
    for link in causes(error):
        if isinstance(link, FileNotFoundError) and link.filename is None:  # what `tempfile` raises
            return f"expected a directory for temporary files, the system says: {link.strerror}"
        if isinstance(link, OSError) and link.errno in UNWRITABLE:
            return f"expected to write {_culprit(link, place)}, the system says: {os.strerror(link.errno)}"
        if link is error and isinstance(link, OSError) and link.errno in NOT_ALLOWED:
            return f"expected to write {link.filename or place}, the system says: {os.strerror(link.errno)}"
        words = None if isinstance(link, OSError) else WORDS.search(str(link))
        if words is None and writes_alone and link is error:
            words = UNOPENED.search(str(link))
        if words is not None:
            return f"expected to write {_culprit(link, place)}, it cannot be written: {words[0]}"
    return None


def lacked_memory(error: BaseException) -> bool:
    """Whether an error, or one that it came of, says that no memory was to be had."""
    return any(
        isinstance(link, MemoryError) or (isinstance(link, RuntimeError) and NO_MEMORY.search(str(link)))
        for link in causes(error)
    )


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Walk from an error along what it came of, itself first."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _culprit(error: BaseException, place: Path | None) -> str:
    """The place itself, or the directory of temporary files where it is that which is full."""
    temporary = Path(tempfile.gettempdir())
    name = getattr(error, "filename", None)
    if place is None or place.absolute().is_relative_to(temporary):
        elsewhere = place is None
    elif isinstance(name, str):
        elsewhere = Path(name).absolute().is_relative_to(temporary)
    else:
        elsewhere = _is_full(temporary) and not _is_full(place)
    return f"temporary files in {temporary} (the variable TMPDIR names another place)" if elsewhere else str(place)


def _is_full(place: Path) -> bool:
    above = next((parent for parent in (place, *place.absolute().parents) if parent.exists()), None)
    return above is not None and shutil.disk_usage(above).free < FULL_BYTES


def flush(path: Path) -> None:
    """Wait until a file or a directory's list of names is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: Path, content: str | bytes) -> None:
    """Write text or bytes beside their destination, flush and rename them there; missing directories are made.

    Raises:
        RequestError: there can be no file of that name.
        WriteError: the disk is full, or may not be written.
    """
    try:
        resolved = path.resolve()  # a link stays one
        resolved.parent.mkdir(parents=True, exist_ok=True)
        with hidden.directory(resolved.parent) as scratch:
            partial = scratch / TEXT
            partial.write_bytes(content.encode() if isinstance(content, str) else content)
            flush(partial)
            partial.replace(resolved)
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeEncodeError):
            raise
        if refusal := write_refusal(error, path):
            raise WriteError(f"{refusal}; nothing was kept") from error
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
