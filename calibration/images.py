"""Finding and decoding images: a directory of the user's, or the photographs that come with slide-export."""

import importlib.resources
import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from slide_export.errors import CalibrationError
from slide_export.models import DataConfig

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


def read(files: Sequence[Path], data: DataConfig, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns the decoded, rotated (EXIF), resized and cropped images, uint8 [B, H, W, 3] RGB.

    Raises:
        CalibrationError: a file cannot be decoded.
    """
    return np.stack([crop(decode(file), data, size) for file in files])


def pictures(images: ImageSet, data: DataConfig, size: tuple[int, int]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yields name and cropped picture, uint8 [H, W, 3] RGB, of every file that can be decoded, one at a time.

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
        yield name, crop(picture, data, size)


def decode(file: Path) -> Image.Image:
    """Returns the upright RGB picture in a file.

    Raises:
        CalibrationError: the file cannot be decoded.
    """
    try:
        with Image.open(file) as picture:
            return ImageOps.exif_transpose(picture).convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
        raise CalibrationError(
            f"expected an image, {file} cannot be decoded ({reason}): remove or replace it"
        ) from error


def _images_below(root: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()))
