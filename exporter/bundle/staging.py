"""How a bundle comes to its place: made in a hidden directory beside it, flushed to disk, and put there in one step.

    out/.slide-export-1f0c…/new     being made
    out/NAME                        the older one, which readers find until the step and the new one from then on

Where the file system cannot let two directories change places, the older one is moved into the hidden directory first,
and put back by whoever comes next where the run ends in between.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slide_export.core import files, hidden, rename
from slide_export.core.errors import BundleError, GateError, RequestError, WriteError, option

from .manifest import MANIFEST

NAME_BYTES = 255  # of one name, on every file system in use (Source: limits.h, NAME_MAX)
REJECTED = ".rejected"
NEW = "new"
ATTEMPTS = 8  # at a place that other runs replace meanwhile


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Refuse a bundle that stands in the way, before any work is done.

    Raises:
        BundleError: the path exists and overwriting was not asked for, or it is no bundle of ours.
    """
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise BundleError(
            f"expected a free place for the bundle, {path} exists: add {option('overwrite')} or another {option('out')}"
        )
    if not (path / MANIFEST).is_file():
        raise BundleError(
            f"expected a bundle to overwrite, {path} has no {MANIFEST}: it is not slide-export's, so it stays"
        )


def refuse_unusable(path: Path, name: str) -> None:
    """Refuse a place where no bundle can be written, before any work is done.

    Args:
        path: the bundle's directory.
        name: what it is named after.

    Raises:
        RequestError: the name is none of a file, or is too long.
        BundleError: there can be no directory.
        WriteError: nothing can be written there.
    """
    _refuse_name(path, name)
    try:
        above = _nearest(path)
        if not above.is_dir():
            raise NotADirectoryError(f"{above} is no directory")
    except (OSError, ValueError) as error:
        refusal = files.write_refusal(error, path.parent)
        raise _no_directory(path.parent, error) if refusal is None else WriteError(refusal) from error
    if not os.access(above, os.W_OK | os.X_OK):
        raise WriteError(
            f"expected a directory to write to, nothing can be written in {above}: choose another {option('out')}"
        )


def _refuse_name(path: Path, name: str) -> None:
    given = option("name")
    if name in ("", ".", "..") or "/" in name or os.sep in name or "\0" in name:
        raise RequestError(f"expected a name for the bundle, found {name!r}: a path goes to {option('out')}")
    files.refuse_not_utf8(path, "a place for the bundle")
    excess = len(os.fsencode(f"{path.name}{REJECTED}.99")) - NAME_BYTES
    if excess > 0:
        found = len(os.fsencode(name))
        raise RequestError(
            f"expected a name of at most {found - excess} bytes for the bundle, found {found}: give a shorter {given}"
        )


def _nearest(path: Path) -> Path:
    """The lowest directory above a path that is there already."""
    with suppress(FileNotFoundError):
        path.lstat()
    for parent in path.absolute().parents:
        with suppress(FileNotFoundError):
            parent.lstat()
            return parent
    return Path("/")


def _no_directory(out: Path, error: BaseException) -> BundleError:
    return BundleError(f"expected a directory to write to, {out} is none ({error}): choose another {option('out')}")


@contextmanager
def staging(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """An empty directory that becomes `path` when the block ends.

    A `GateError` inside keeps it as `rejected(path)`; anything else removes it. Nothing is ever half written, and a
    reader finds the older bundle or the new one, whole.

    Raises:
        BundleError: there can be no directory, or another run has put a bundle there.
        WriteError: the disk is full or fails.
    """
    with _explained(path), _hidden(path.parent) as scratch:
        partial = scratch / NEW
        partial.mkdir()
        try:
            yield partial
            _settle(partial)
            _place(partial, path, scratch, overwrite=overwrite)
        except GateError:
            _settle(partial)
            _place(partial, rejected(path), scratch, overwrite=True)
            raise


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Name the place in an error of the disk, also where another library hides it."""
    try:
        yield
    except Exception as error:
        stands = "; the bundle that stands there is whole" if (path / MANIFEST).is_file() else ""
        refusal = files.write_refusal(error, path, writes_alone=True)
        if refusal is not None:
            raise WriteError(f"{refusal}; no part of the new bundle was kept{stands}") from error
        if isinstance(error, OSError):
            raise BundleError(
                f"expected to write {path}, the system says: {error}; no part of the new bundle was kept{stands}"
            ) from error
        raise


@contextmanager
def _hidden(out: Path) -> Iterator[Path]:
    """A hidden directory in `out`, which is made where it is missing."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, FileNotFoundError, ValueError) as error:
        raise _no_directory(out, error) from error
    with hidden.directory(out) as scratch:
        yield scratch


def rejected(path: Path) -> Path:
    """The place where an artifact that failed is kept: `path.rejected`, or a number after it.

    One that an earlier run has kept there is replaced; what is not slide-export's stays, and the next free name is
    taken.
    """
    place, number = path.with_name(path.name + REJECTED), 0
    while os.path.lexists(place) and not _is_ours(place):
        number += 1
        place = path.with_name(f"{path.name}{REJECTED}.{number}")
    return place


def _is_ours(path: Path) -> bool:
    """Whether a directory has a manifest like ours."""
    try:
        content = json.loads((path / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"schema", "target", "precision", "files"} <= content.keys()


def _settle(directory: Path) -> None:
    """Give every file the mode that the process's mask asks for, and flush all to disk."""
    mode = directory.stat().st_mode & 0o777  # of a directory made without any other wish
    for path in (directory, *directory.rglob("*")):
        if path.is_symlink():
            continue
        wanted = mode if path.is_dir() else mode & 0o666
        if path.stat().st_mode & 0o777 != wanted:
            path.chmod(wanted)
        files.flush(path)


def _place(source: Path, target: Path, scratch: Path, *, overwrite: bool) -> None:
    """Put a directory at its place in one step; what stood there is in `scratch` afterwards."""
    for _ in range(ATTEMPTS):
        refuse_existing(target, overwrite=overwrite)
        with suppress(FileExistsError, FileNotFoundError):  # another run put something there, or took it away, since
            _swap(source, target, scratch)
            with suppress(OSError):  # some file systems flush no directory
                files.flush(target.parent)
            return
    raise BundleError(
        f"expected a place for the bundle, other runs replace {target} meanwhile: choose another {option('out')}"
    )


def _swap(source: Path, target: Path, scratch: Path) -> None:
    if not os.path.lexists(target):
        rename.to_free_place(source, target)
    elif not rename.exchange(source, target):
        aside = scratch / hidden.ASIDE
        aside.mkdir()
        target.rename(aside / target.name)
        rename.to_free_place(source, target)
