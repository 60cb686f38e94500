"""Finding and decoding images: the user's, wherever they are, or the photographs that come with slide-export."""

from __future__ import annotations

import importlib.resources
import logging
import os
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from slide_export.core.errors import CalibrationError
from slide_export.core.text import foreign
from slide_export.inference.preprocess import crop

from .archives import members, open_member
from .csv_list import FILE_HEADINGS, rows
from .folders import SUFFIXES, is_picture, pictures_below

if TYPE_CHECKING:
    from slide_export.models import DataConfig

Picture = TypeVar("Picture")

UNBOUNDED = ("I", "F")  # modes of 32 bits, whose brightest value nothing in the file tells
DEEP_STEP = 257  # 65535 / 255
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Orientation of EXIF -> what makes it upright; as in Pillow's ImageOps.exif_transpose."""
BROKEN_SHARE = 0.02
"""Of files that may be undecodable: big collections have a few, and a name or two is no reason to start over.
One of several files always may be."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageSet:
    """Image files in a fixed order.

    Attributes:
        source: what to call the set in a report.
        files: paths, sorted by name.
        listing: the CSV list that names them; None where there is none.
    """

    source: str
    root: Path
    files: tuple[Path, ...]
    listing: Path | None = None

    def names(self) -> tuple[str, ...]:
        """Path of each file relative to the root, with forward slashes, as `printed` writes it."""
        return tuple(printed(file.relative_to(self.root).as_posix()) for file in self.files)

    def sample(self, count: int, seed: int) -> ImageSet:
        """Sample at most `count` files, in their order, by a seed: the same ones every time."""
        if len(self.files) <= count:
            return self
        drawn = sorted(random.Random(seed).sample(range(len(self.files)), count))
        return ImageSet(self.source, self.root, tuple(self.files[index] for index in drawn))

    def without(self, others: ImageSet) -> ImageSet:
        """Remove the files of another set, which may come to them by another path."""
        taken = set(others.paths())
        placed = zip(self.files, self.paths(), strict=True)
        return ImageSet(self.source, self.root, tuple(file for file, path in placed if path not in taken))

    def paths(self) -> tuple[Path, ...]:
        """Absolute path of each file."""
        root = self.root.resolve()
        return tuple(root / file.relative_to(self.root) for file in self.files)

    def spread(self, count: int) -> ImageSet:
        """Pick at most `count` files, evenly spread over the set: the same ones every time.

        Given   files 0..9, count 4
        Result  files 0, 2, 5, 7
        """
        if len(self.files) <= count:
            return self
        picked = tuple(self.files[index * len(self.files) // count] for index in range(count))
        return ImageSet(self.source, self.root, picked)


def bundled() -> ImageSet:
    """Photographs that come with slide-export (public domain and CC0; see photos/README.md)."""
    root = Path(str(importlib.resources.files("slide_export.calibration") / "photos"))
    return ImageSet("bundled photographs", root, pictures_below(root)[0])


def from_directory(root: Path) -> ImageSet:
    """Images below a directory, in the order of their paths.

    Raises:
        CalibrationError: there is no such directory, or no image in it.
    """
    if not is_there(root, Path.is_dir):
        raise CalibrationError(f"expected a directory of images, found no directory at {foreign(root, 300)}")
    files, left_out = pictures_below(root)
    left_out.say(root)
    if not files:
        endings = " ".join(sorted(SUFFIXES))
        raise CalibrationError(f"expected images ({endings}) in {root} or its folders, found none")
    return ImageSet(printed(root.name), root, files)


def find(path: Path) -> ImageSet:
    """Images of a directory, a `.zip`, an `.npz` or a `.csv` list, in a fixed order.

    Raises:
        CalibrationError: there is nothing like that at `path`, or no image in it.
    """
    kind = path.suffix.lower()
    if is_there(path, Path.is_dir) or kind not in (".zip", ".npz", ".csv"):
        return from_directory(path)
    if not is_there(path, Path.is_file):
        raise CalibrationError(f"expected images in {foreign(path, 300)}, found no such file")
    root = path.parent if kind == ".csv" else path
    files = _listed(path) if kind == ".csv" else members(path)
    if not files:
        raise CalibrationError(f"expected images in {path}, found none")
    return ImageSet(printed(path.name), root, files, path if kind == ".csv" else None)


def is_there(path: Path, kind: Callable[[Path], bool]) -> bool:
    """Whether a path is of a kind: `Path.is_dir` or `Path.is_file`.

    Raises:
        CalibrationError: the system cannot tell: a name of too many letters, a directory that nobody may enter.
    """
    try:
        return kind(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CalibrationError(
            f"expected a place of images, {foreign(path, 300)} cannot be looked at: {reason}"
        ) from error


def printed(name: str) -> str:
    """Write a name that is no UTF-8 so that reports can hold it, with its bytes in hexadecimal."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _listed(path: Path) -> tuple[Path, ...]:
    """Files in a CSV list, each once, relative to it.

    They stand in the column with a heading of files, under other headings in the first of pictures, without any in the
    first one.
    """
    found = list(rows(path))
    place, head = 0, tuple(cell.lower() for cell in found[0].cells) if found else ()
    named = any(name in head for name in FILE_HEADINGS) and not any(map(is_picture, head))
    if head and (named or not Path(head[0]).suffix):
        del found[0]
        pictures = [index for index, cell in enumerate(found[0].cells if found else ()) if is_picture(cell)]
        place = next((head.index(name) for name in FILE_HEADINGS if name in head), next(iter(pictures), 0))
    names = [row.cells[place] for row in found if len(row.cells) > place and row.cells[place]]
    files = tuple(listed(path.parent, name, str(path)) for name in names)
    if twice := len(files) - len(set(files)):
        _log.warning("left out %d rows of %s that name a file again", twice, path.name)
    return tuple(dict.fromkeys(files))


def listed(root: Path, name: str, where: str) -> Path:
    """Path below `root` of a file that a list in `root` names, relative to it or not.

    Args:
        where: what names the file, for the error.

    Raises:
        CalibrationError: there is no such file, or it is not below `root`.
    """
    file = root / name
    if not is_there(file, Path.is_file):
        raise CalibrationError(f"expected an image at {foreign(file, 300)}, as {where} says; found none")
    inside, top = (Path(os.path.normpath(path.absolute())) for path in (file, root))
    if not inside.is_relative_to(top):
        raise CalibrationError(
            f"expected a file below {top} in {where}, found {foreign(name)!r}: put the list above its images"
        )
    return root / inside.relative_to(top)


def decode(file: Path) -> Image.Image:
    """Decode a file to an upright RGB picture, 8 bits a channel.

    Raises:
        CalibrationError: the file cannot be decoded, or its pixels have no known range.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that Pillow skips
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # its bound for a picture
            with Image.open(file) if file.is_file() else open_member(file) as picture:
                if picture.mode not in UNBOUNDED:
                    return _rgb(_upright(picture))
                mode = picture.mode
    except Exception as error:  # a decoder is somebody else's code, and what it raises on damage has no bounds
        raise _undecodable(file, error) from error
    raise CalibrationError(
        f"expected an image of 8 or 16 bits a channel, found Pillow's mode {mode} in {file}: scale it to 0..255"
    )


def _undecodable(file: Path, error: Exception) -> CalibrationError:
    if isinstance(error, CalibrationError):
        return error
    reason = "not an image" if isinstance(error, UnidentifiedImageError) else foreign(error, 200)
    if isinstance(error, MemoryError):
        reason = "not enough memory"
    return CalibrationError(
        f"expected an image, {foreign(file, 300)} cannot be decoded ({reason or type(error).__name__}): remove or "
        "replace it"
    )


def _upright(picture: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF says; EXIF that cannot be read turns nothing.

    Orientation is read alone: `exif_transpose` writes all of it anew, and fails where a camera wrote what it cannot.
    """
    picture.load()  # a PNG's EXIF may follow its pixels
    try:
        turn = TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        turn = None
    return picture if turn is None else picture.transpose(turn)


def _rgb(picture: Image.Image) -> Image.Image:
    """Convert to 8 bits a channel: 16 bits of gray are scaled, where Pillow's own conversion clips them at 255."""
    if picture.mode.startswith("I;16"):
        deep = np.asarray(picture).astype(np.uint32)
        picture = Image.fromarray(((deep + DEEP_STEP // 2) // DEEP_STEP).astype(np.uint8))
    return picture.convert("RGB")


def read(files: Sequence[Path], data: DataConfig, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode, rotate (EXIF), resize and crop: uint8 [B, H, W, 3] RGB.

    Raises:
        CalibrationError: a file cannot be decoded.
    """
    return np.stack([crop(decode(file), data, size) for file in files])


def readable(images: ImageSet, count: int, load: Callable[[Path], object] = decode) -> ImageSet:
    """At most `count` files that can be decoded, evenly spread; further ones stand in for broken ones.

    Raises:
        CalibrationError: see `decoded`.
    """
    chosen = images.spread(count)
    drawn = ImageSet(images.source, images.root, (*chosen.files, *images.without(chosen).files))
    good = [drawn.files[index] for index, _ in islice(decoded(drawn, load), count)]
    return ImageSet(images.source, images.root, tuple(good))


class BrokenFiles:
    """Files of a set that cannot be decoded; more than `BROKEN_SHARE` of them, or all, are refused.

    Args:
        later: a part of the set is looked at, and others together with it: nothing is said or refused yet.

    Attributes:
        found: place and error of each, no more of a part than it takes to refuse the whole.
    """

    def __init__(self, images: ImageSet, *, later: bool = False) -> None:
        self.found: list[tuple[int, str]] = []
        self._names, self._later = images.names(), later

    def add(self, place: int, said: str) -> None:
        """Note one.

        Raises:
            CalibrationError: it is one too many.
        """
        total = len(self._names)
        if self._later and len(self.found) > max(1, BROKEN_SHARE * total):
            return
        self.found.append((place, said))
        if self._later:
            return
        broken = len(self.found)
        if broken > max(1, BROKEN_SHARE * total) or broken == total:
            raise CalibrationError(
                f"{said} (number {broken} of {total} files; up to {BROKEN_SHARE:.0%} are skipped, or one of several)"
            )
        _log.warning("skipped %s: it cannot be decoded", self._names[place])


def decoded(images: ImageSet, load: Callable[[Path], Picture]) -> Iterator[tuple[int, Picture]]:
    """Place in the set and picture of every file that can be decoded, one at a time.

    Args:
        load: decodes a file, or raises `CalibrationError`: `decode`, or a store that keeps what it decoded.

    Raises:
        CalibrationError: more files than `BROKEN_SHARE` of them cannot be decoded, or none can.
    """
    broken = BrokenFiles(images)
    for index, file in enumerate(images.files):
        try:
            picture = load(file)
        except CalibrationError as error:
            broken.add(index, error.args[0])
            continue
        yield index, picture
