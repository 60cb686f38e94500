"""Images inside a `.zip` or an `.npz`, as paths below the archive: `photos.zip/cats/1.jpg`, `calib.npz/000012`."""

import functools
import io
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from PIL import Image

from slide_export.core.errors import CalibrationError
from slide_export.core.text import foreign

from .folders import LeftOut, is_left_out, is_picture

ARRAY = "images"  # its name, where an .npz holds several
LARGEST_BYTES = 512 << 20  # of one picture, unpacked
LARGEST_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485  # of one picture: where Pillow warns of a bomb
MOST_PICTURES = 2_000_000  # of an .npz: each of them becomes a path
CHUNK_BYTES = 64 << 10  # LZMA unpacks what it is handed at once, 7,000 times as much at worst


def members(archive: Path) -> tuple[Path, ...]:
    """Paths of all images in an archive, in order; what else it holds is named.

    Raises:
        CalibrationError: the archive cannot be read, or an .npz has no array of pictures.
    """
    if archive.suffix.lower() == ".npz":
        return tuple(archive / f"{index:06d}" for index in range(_rows(*_stamp(archive)).count))
    left, found = LeftOut(), []
    for file in _named(*_stamp(archive)):
        inside = file.relative_to(archive)
        if hidden := next((part for part in inside.parts[:-1] if is_left_out(part)), None):
            left.folders += [] if hidden in left.folders else [hidden]
        elif is_picture(file.name):
            found.append(file)
        else:
            left.files.append(str(inside))
    left.say(archive.name)
    return tuple(found)


def open_member(file: Path) -> Image.Image:
    """Open the picture at a path below an archive; it is decoded when it is used.

    Raises:
        FileNotFoundError: no part of the path is an archive, or it holds no such file.
        CalibrationError: the file cannot be unpacked.
    """
    archive = _archive_of(file)
    if archive.suffix.lower() == ".npz":
        rows = _rows(*_stamp(archive))
        return Image.fromarray(np.frombuffer(member_bytes(file), np.uint8).reshape(rows.shape))
    return Image.open(io.BytesIO(member_bytes(file)))


def member_bytes(file: Path) -> bytes:
    """The bytes of the picture at a path below an archive; raises as `open_member` does."""
    archive = _archive_of(file)
    if archive.suffix.lower() == ".npz":
        with _unpacking(archive, file.name):
            return _rows(*_stamp(archive)).read(int(file.name))
    info = _info(archive, file)
    if info.file_size > LARGEST_BYTES:
        raise CalibrationError(
            f"expected a picture of at most {LARGEST_BYTES >> 20} MiB, {foreign(info.filename)} of {archive} is said "
            f"to unpack to {info.file_size >> 20} MiB"
        )
    with _unpacking(archive, info.filename), _zip(*_stamp(archive)).open(info) as content:
        return b"".join(iter(functools.partial(content.read, CHUNK_BYTES), b""))


def member_size(file: Path) -> int:
    """How many bytes the picture at a path below an archive has, unpacked; raises as `open_member` does."""
    archive = _archive_of(file)
    if archive.suffix.lower() == ".npz":
        return math.prod(_rows(*_stamp(archive)).shape)
    return _info(archive, file).file_size


def _archive_of(file: Path) -> Path:
    archive = next((parent for parent in file.parents if parent.is_file()), None)
    if archive is None:
        raise FileNotFoundError(f"no file at {file}")
    return archive


def _info(archive: Path, file: Path) -> zipfile.ZipInfo:
    name = _named(*_stamp(archive)).get(file)
    if name is None:
        raise FileNotFoundError(f"no file at {file}")
    return _zip(*_stamp(archive)).getinfo(name)


@contextmanager
def _unpacking(archive: Path, name: str) -> Iterator[None]:
    """Raise one clear sentence for what unpacking meets: a password, a compression that Python lacks, or damage."""
    try:
        yield
    except CalibrationError:
        raise
    except Exception as error:  # whatever zlib, LZMA and the others raise
        raise CalibrationError(
            f"expected a file that can be unpacked, {foreign(name)} of {archive} cannot ({foreign(error, 200)}): pack "
            "it anew, deflated and without a password"
        ) from error


def _stamp(archive: Path) -> tuple[Path, int, int]:
    """Path, modification time and size of an archive: the key of what is kept open, stale once the file changes."""
    stat = archive.stat()
    return archive, stat.st_mtime_ns, stat.st_size


@functools.lru_cache(maxsize=2)  # the directory of a large archive takes seconds to read
def _zip(archive: Path, _changed: int, _size: int) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except Exception as error:  # OSError, BadZipFile, NotImplementedError, and what damaged directories come to
        raise CalibrationError(f"expected a zip archive, {archive} cannot be read: {foreign(error, 200)}") from error


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
            listed = ", ".join(map(foreign, names[:8])) or "none"
            raise CalibrationError(f"expected one array or one called {ARRAY!r} in {archive}, found {listed}")
        with _unpacking(archive, f"{name}.npy"):
            self._file = content.open(f"{name}.npy")
            shape, kind = _header(self._file, archive)
        _refuse_unfit(shape, kind, archive)
        self._start, self.count = self._file.tell(), shape[0]
        self.shape = shape[1:3] if len(shape) == 4 and shape[3] == 1 else shape[1:]
        there = content.getinfo(f"{name}.npy").file_size - self._start
        if math.prod(shape) != there:
            raise CalibrationError(
                f"expected {self.count} pictures of {list(self.shape)} in {archive}, as its header says; found "
                f"{there} bytes of them: write the array anew"
            )

    def read(self, index: int) -> bytes:
        """Read the bytes of one picture, uint8 [H, W, 3] or [H, W]; forward is fast, backward starts over."""
        size = math.prod(self.shape)
        self._file.seek(self._start + index * size)
        return self._file.read(size)


def _refuse_unfit(shape: tuple[int, ...], kind: np.dtype[Any], archive: Path) -> None:
    one = len(shape) == 3 and shape[2] in (1, 3, 4)
    several = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))
    if kind == np.uint8 and several and not one:
        if min(shape[1:3]) < 1 or shape[1] * shape[2] > LARGEST_PIXELS or shape[0] > MOST_PICTURES:
            raise CalibrationError(
                f"expected at most {MOST_PICTURES} pictures of 1 to {LARGEST_PIXELS} pixels in {archive}, found "
                f"{shape[0]} of {shape[1]}x{shape[2]}"
            )
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
    except Exception as error:  # a header is Python's own notation: SyntaxError, TokenError, RecursionError and others
        raise CalibrationError(
            f"expected NumPy arrays in {archive}, found none that can be read: {foreign(error, 200)}"
        ) from error
    if columns_first:
        raise CalibrationError(f"expected an array in C order in {archive}, found Fortran order: np.ascontiguousarray")
    return shape, kind


@functools.lru_cache(maxsize=2)
def _rows(archive: Path, _changed: int, _size: int) -> _Rows:
    return _Rows(archive)
