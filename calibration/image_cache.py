"""Images decoded once and kept on disk: any number of passes over any number of them takes one image's memory."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slide_export.core.artifact import Feeds, ModelIO
from slide_export.models import DataConfig

from .images import ImageSet, pictures
from .preprocess import crop, normalise

PATCH = 256  # pixels a side
EVERY = 25  # images between two words of progress

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageCache:
    """Cropped images, uint8 [H, W, 3] one after the other in a file.

    Attributes:
        names: of the images, in the file's order.
        smoothness: of each file's own pixels, see `smoothness`.
    """

    file: Path
    names: tuple[str, ...]
    size: tuple[int, int]
    smoothness: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        rows, cols = self.size
        with self.file.open("rb") as content:
            for _ in self.names:
                yield np.frombuffer(content.read(rows * cols * 3), np.uint8).reshape(rows, cols, 3)


def spool(images: ImageSet, data: DataConfig, size: tuple[int, int], file: Path) -> ImageCache:
    """Returns the images that can be decoded, written to `file`.

    Raises:
        CalibrationError: see `images.pictures`.
    """
    names, smooth = [], []
    with file.open("wb") as content:
        for name, picture in pictures(images):
            content.write(crop(picture, data, size).tobytes())
            names.append(name)
            smooth.append(smoothness(picture))
            if len(names) % EVERY == 0:
                _log.info("read %d of %d images", len(names), len(images.files))
    return ImageCache(file, tuple(names), size, tuple(smooth))


def smoothness(picture: Image.Image) -> float:
    """Returns the correlation of neighbouring pixels in the middle of a picture.

    0 in white noise, near 1 in a photograph, 1 where all pixels are equal.
    """
    left, top = max(0, (picture.width - PATCH) // 2), max(0, (picture.height - PATCH) // 2)
    patch = np.asarray(
        picture.crop((left, top, min(left + PATCH, picture.width), min(top + PATCH, picture.height))).convert("L")
    )
    values = patch - patch.mean()
    power = float(np.square(values).mean())
    return float((values[:, 1:] * values[:, :-1]).mean()) / power if power and values.shape[1] > 1 else 1.0


@dataclass(frozen=True)
class FedImages:
    """A spool as a graph is fed with it, one image at a time."""

    spool: ImageCache
    data: DataConfig
    interface: ModelIO

    def __len__(self) -> int:
        return len(self.spool)

    def __iter__(self) -> Iterator[Feeds]:
        batch = self.interface.batch or 1
        for done, picture in enumerate(self.spool):
            if done % EVERY == 0:
                _log.info("observe ranges: %d of %d images", done, len(self))
            pixels = np.repeat(picture[None], batch, axis=0)  # a graph of a fixed batch takes no other
            yield {
                self.interface.input_name: pixels
                if self.interface.embed_preprocessing
                else normalise(pixels, self.data)
            }
