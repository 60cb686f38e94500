"""Images inside a `.zip` or an `.npz`, as paths below the archive: `photos.zip/cats/1.jpg`, `calib.npz/000012`."""

import functools
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from PIL import Image

from slide_export.core.errors import CalibrationError

ARRAY = "images"  # its name, where an .npz holds several


def members(archive: Path, suffixes: frozenset[str]) -> tuple[Path, ...]:
    """Paths of all images in an archive, in order.

    Raises:
        CalibrationError: the archive cannot be read, or an .npz has no array of pictures.
    """
    if archive.suffix.lower() == ".npz":
        return tuple(archive / f"{index:06d}" for index in range(_rows(*_stamp(archive)).count))
    files = _named(*_stamp(archive)).items()
    return tuple(file for file, name in files if file.suffix.lower() in suffixes and not name.startswith("__MACOSX/"))


def open_member(file: Path) -> Image.Image:
    """Open the picture at a path below an archive; it is decoded when it is used.

    Raises:
        FileNotFoundError: no part of the path is an archive, or it holds no such file.
        CalibrationError: the file cannot be unpacked.
    """
    archive = next((parent for parent in file.parents if parent.is_file()), None)
    if archive is None:
        raise FileNotFoundError(f"no file at {file}")
    if archive.suffix.lower() == ".npz":
        with _unpacking(archive, file.name):
            return Image.fromarray(_rows(*_stamp(archive)).read(int(file.name)))
    name = _named(*_stamp(archive)).get(file)
    if name is None:
        raise FileNotFoundError(f"no file at {file}")
    with _unpacking(archive, name):
        content = _zip(*_stamp(archive)).read(name)
    return Image.open(io.BytesIO(content))


@contextmanager
def _unpacking(archive: Path, name: str) -> Iterator[None]:
    """Raise one clear sentence for what unpacking meets: a password, a compression that Python lacks, or damage."""
    try:
        yield
    except (RuntimeError, zlib.error, zipfile.BadZipFile, EOFError) as error:
        raise CalibrationError(
            f"expected a file that can be unpacked, {name} of {archive} cannot ({error}): pack it anew, deflated and "
            "without a password"
        ) from error


def _stamp(archive: Path) -> tuple[Path, int, int]:
    """Path, modification time and size of an archive: the key of what is kept open, stale once the file changes."""
    stat = archive.stat()
    return archive, stat.st_mtime_ns, stat.st_size


@functools.lru_cache(maxsize=2)  # the directory of a large archive takes seconds to read
def _zip(archive: Path, _changed: int, _size: int) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except (OSError, zipfile.BadZipFile) as error:
        raise CalibrationError(f"expected a zip archive, {archive} cannot be read: {error}") from error


@functools.lru_cache(maxsize=2)
def _named(archive: Path, changed: int, size: int) -> dict[Path, str]:
    """Name in a zip of each file below it: names may begin with / or hold ./ and //, paths do not."""
    names = sorted(_zip(archive, changed, size).namelist())
    return {archive / name.lstrip("/"): name for name in names if not name.endswith("/")}


class _Rows:
    """The pictures of an .npz, read one at a time: `numpy.load` would take memory for all of them."""

    def __init__(self, archive: Path) -> None:
        content = _zip(*_stamp(archive))
        names = [name.removesuffix(".npy") for name in content.namelist() if name.endswith(".npy")]
        name = ARRAY if ARRAY in names else names[0] if len(names) == 1 else None
        if name is None:
            raise CalibrationError(
                f"expected one array or one called {ARRAY!r} in {archive}, found {', '.join(names) or 'none'}"
            )
        with _unpacking(archive, f"{name}.npy"):
            self._file = content.open(f"{name}.npy")
            shape, kind = _header(self._file, archive)
        _refuse_unfit(shape, kind, archive)
        self._start, self.count = self._file.tell(), shape[0]
        self._shape = shape[1:3] if len(shape) == 4 and shape[3] == 1 else shape[1:]

    def read(self, index: int) -> Any:
        """Read one picture, uint8 [H, W, 3] or [H, W]; forward is fast, backward starts over."""
        size = int(np.prod(self._shape))
        self._file.seek(self._start + index * size)
        return np.frombuffer(self._file.read(size), np.uint8).reshape(self._shape)


def _refuse_unfit(shape: tuple[int, ...], kind: np.dtype[Any], archive: Path) -> None:
    one = len(shape) == 3 and shape[2] in (1, 3, 4)
    several = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))
    if kind == np.uint8 and several and not one:
        return
    hint = "give pictures of 0..255 in RGB, not normalised ones, so that preprocessing is the same everywhere"
    if one:
        hint = "that is one picture, add an axis, picture[None]"
    raise CalibrationError(
        f"expected uint8 pictures [N, H, W, 3] or [N, H, W] in {archive}, found {kind} {list(shape)}: {hint}"
    )


def _header(file: Any, archive: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = npy.read_magic(file)  # type: ignore[no-untyped-call]
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, columns_first, kind = read(file)  # type: ignore[no-untyped-call]
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise CalibrationError(f"expected NumPy arrays in {archive}, found none that can be read: {error}") from error
    if columns_first:
        raise CalibrationError(f"expected an array in C order in {archive}, found Fortran order: np.ascontiguousarray")
    return shape, kind


@functools.lru_cache(maxsize=2)
def _rows(archive: Path, _changed: int, _size: int) -> _Rows:
    return _Rows(archive)
