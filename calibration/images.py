"""Finding and decoding images: the user's, wherever they are, or the photographs that come with slide-export."""

import csv
import importlib.resources
import logging
import random
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from slide_export.errors import CalibrationError
from slide_export.models import DataConfig

from .archives import members, open_member
from .preprocess import crop

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
BROKEN_SHARE = 0.02
"""Of files that may be undecodable: big collections have a few, and a name or two is no reason to start over."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageSet:
    """Image files in a fixed order.

    Attributes:
        source: what to call the set in a report.
        files: paths, sorted by name.
    """

    source: str
    root: Path
    files: tuple[Path, ...]

    def names(self) -> tuple[str, ...]:
        """Returns each file's path relative to the root, with forward slashes."""
        return tuple(file.relative_to(self.root).as_posix() for file in self.files)

    def sample(self, count: int, seed: int) -> "ImageSet":
        """Returns at most `count` files in their order, drawn with a seed: the same ones every time."""
        if len(self.files) <= count:
            return self
        drawn = sorted(random.Random(seed).sample(range(len(self.files)), count))
        return ImageSet(self.source, self.root, tuple(self.files[index] for index in drawn))

    def without(self, others: "ImageSet") -> "ImageSet":
        """Returns the set without the files of another one."""
        taken = set(others.files)
        return ImageSet(self.source, self.root, tuple(file for file in self.files if file not in taken))

    def spread(self, count: int) -> "ImageSet":
        """Returns at most `count` files, evenly spread over the set: the same ones every time."""
        if len(self.files) <= count:
            return self
        picked = tuple(self.files[index * len(self.files) // count] for index in range(count))
        return ImageSet(self.source, self.root, picked)


def bundled() -> ImageSet:
    """Returns the photographs that come with slide-export (public domain and CC0; see photos/README.md)."""
    root = Path(str(importlib.resources.files("slide_export.calibration") / "photos"))
    return ImageSet("bundled photographs", root, _images_below(root))


def from_directory(root: Path) -> ImageSet:
    """Returns the images below a directory, in the order of their paths.

    Raises:
        CalibrationError: there is no such directory, or no image in it.
    """
    if not root.is_dir():
        raise CalibrationError(f"expected a directory of images, found no directory at {root}")
    files = _images_below(root)
    if not files:
        endings = " ".join(sorted(SUFFIXES))
        raise CalibrationError(f"expected images ({endings}) in {root} or its folders, found none")
    return ImageSet(root.name, root, files)


def find(place: Path) -> ImageSet:
    """Returns the images of a directory, a `.zip`, an `.npz` or a `.csv` list, in a fixed order.

    Raises:
        CalibrationError: there is nothing like that at `place`, or no image in it.
    """
    kind = place.suffix.lower()
    if place.is_dir() or kind not in (".zip", ".npz", ".csv"):
        return from_directory(place)
    if not place.is_file():
        raise CalibrationError(f"expected images in {place}, found no such file")
    root = place.parent if kind == ".csv" else place
    files = _listed(place) if kind == ".csv" else members(place, SUFFIXES)
    if not files:
        raise CalibrationError(f"expected images in {place}, found none")
    return ImageSet(place.name, root, files)


def _listed(path: Path) -> tuple[Path, ...]:
    """Returns the files in the first column of a list, relative to it; a heading without a suffix is none."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            names = [row[0].strip() for row in csv.reader(lines) if row and row[0].strip()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CalibrationError(f"expected a CSV list of images, {path} cannot be read: {error}") from error
    files = tuple(path.parent / name for name in names[bool(names) and not Path(names[0]).suffix :])
    for file in files:
        if not file.is_file():
            raise CalibrationError(f"expected an image at {file}, as {path} says; found none")
        if not file.is_relative_to(path.parent) or ".." in file.relative_to(path.parent).parts:
            raise CalibrationError(f"expected files below {path.parent} in {path}, found {file}: move the list above")
    return files


def read(files: Sequence[Path], data: DataConfig, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns the decoded, rotated (EXIF), resized and cropped images, uint8 [B, H, W, 3] RGB.

    Raises:
        CalibrationError: a file cannot be decoded.
    """
    return np.stack([crop(decode(file), data, size) for file in files])


def pictures(images: ImageSet) -> Iterator[tuple[str, Image.Image]]:
    """Yields name and upright RGB picture of every file that can be decoded, one at a time.

    Raises:
        CalibrationError: more files than `BROKEN_SHARE` of them cannot be decoded.
    """
    broken = 0
    for name, file in zip(images.names(), images.files, strict=True):
        try:
            picture = decode(file)
        except CalibrationError as error:
            broken += 1
            if broken > BROKEN_SHARE * len(images.files):
                raise CalibrationError(
                    f"{error} (number {broken} of {len(images.files)} files; up to {BROKEN_SHARE:.0%} are skipped)"
                ) from error
            _log.warning("skipped %s: it cannot be decoded", name)
            continue
        yield name, picture


def decode(file: Path) -> Image.Image:
    """Returns the upright RGB picture in a file.

    Raises:
        CalibrationError: the file cannot be decoded.
    """
    try:
        with Image.open(file) if file.is_file() else open_member(file) as picture:
            return ImageOps.exif_transpose(picture).convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, zipfile.BadZipFile) as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
        raise CalibrationError(
            f"expected an image, {file} cannot be decoded ({reason}): remove or replace it"
        ) from error


def _images_below(root: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()))
