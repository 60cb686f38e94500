"""Pictures decoded once and kept on disk, whoever asks for them: proof, calibration, evaluation."""

from __future__ import annotations

import logging
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slide_export.core.artifact import Feeds
from slide_export.core.errors import CalibrationError, option
from slide_export.inference.preprocess import crop, crop_label_map

from .images import ImageSet, decode, decoded
from .label_maps import decode_label_map

if TYPE_CHECKING:
    from slide_export.models import DataConfig

PATCH = 256  # pixels a side
PROGRESS_EVERY = 25  # images between two words of progress
MAX_DISK_BYTES = 2 << 30  # on disk; what comes after is decoded each time it is asked for

_log = logging.getLogger(__name__)


def one_picture(file: Path) -> tuple[Path, ...]:
    """A sample of a single input is its file."""
    return (file,)


@dataclass(frozen=True)
class _Kept:
    offset: int
    smoothness: float


class PictureStore:
    """Cropped pictures of one input size, uint8 [H, W, 3]; each file is decoded once.

    Example:
        store = PictureStore(model.data, model.image_size)
        (picture,) = store.load(Path("cat.jpg"))   # decodes, crops, writes to a temporary file
        (picture,) = store.load(Path("cat.jpg"))   # reads it back

    Args:
        size: rows and columns of the crop.
        sample: the file of every input for a sample that is named by its first file; see `Task.sample`.
    """

    def __init__(
        self, data: DataConfig, size: tuple[int, int], sample: Callable[[Path], tuple[Path, ...]] = one_picture
    ) -> None:
        self.data, self.size, self.sample = data, size, sample
        self.told: dict[Path, tuple[Path, ...]] = {}
        self._content = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the store, by the next line
        weakref.finalize(self, self._content.close)
        self._kept: dict[Path, _Kept | CalibrationError] = {}
        self._end = 0

    def load(self, file: Path) -> tuple[NDArray[np.uint8], ...]:
        """The pictures of a sample, one an input.

        Raises:
            CalibrationError: a file of it cannot be decoded, now or when it was asked for first.
        """
        return tuple(map(self.picture, self.told.get(file) or self.sample(file)))

    def take(self, samples: Mapping[Path, tuple[Path, ...]]) -> None:
        """Learn the files of samples that the rule does not tell, by their first file.

        Raises:
            CalibrationError: another sample has the same first file.
        """
        for file, files in samples.items():
            if self.told.setdefault(file, files) != files:
                raise CalibrationError(
                    f"expected {file.name} beside {self.told[file][-1].name}, as before; found {files[-1].name}"
                )

    def picture(self, file: Path) -> NDArray[np.uint8]:
        """The cropped picture in a file; raises as `load` does."""
        kept = self._kept.get(file)
        if isinstance(kept, CalibrationError):
            raise kept
        if kept is None:
            return self._decode(file)
        rows, cols = self.size
        self._content.seek(kept.offset)
        return np.frombuffer(self._content.read(rows * cols * 3), np.uint8).reshape(rows, cols, 3)

    def label_map(self, file: Path) -> NDArray[np.int32]:
        """The map of class numbers in a file, [H, W], resized and cut as its picture; each is the nearest pixel's.

        Raises:
            CalibrationError: it cannot be decoded, or has colours and no numbers.
        """
        return crop_label_map(decode_label_map(file), self.data, self.size)

    def placed(self, rows: int, cols: int) -> tuple[int, int]:
        """Rows and columns, from the input's top left, that a picture of these takes in it.

        Raises:
            CalibrationError: the input has only a part of the picture.
        """
        if self.data.fits:
            return self.data.fitted(self.size, (rows, cols))
        if self.data.keep_aspect or self.data.resized(self.size) != self.size:
            raise CalibrationError(
                "expected whole pictures, found preprocessing that crops them: what is outside of the input cannot be "
                f"found; export with {option('resize')} fit"
            )
        return self.size

    def smoothness(self, file: Path) -> float:
        """See `smoothness`; of the file's own pixels, before it was resized."""
        kept = self._kept.get(file)
        return kept.smoothness if isinstance(kept, _Kept) else smoothness(decode(file))

    def _decode(self, file: Path) -> NDArray[np.uint8]:
        try:
            picture = decode(file)
            cropped = crop(picture, self.data, self.size)
        except CalibrationError as error:
            self._kept[file] = error
            raise
        if self._end + cropped.nbytes <= MAX_DISK_BYTES:
            self._content.seek(self._end)
            self._content.write(cropped.tobytes())
            self._kept[file] = _Kept(self._end, smoothness(picture))
            self._end += cropped.nbytes
        return cropped

    def stacked(self, files: Sequence[Path]) -> tuple[NDArray[np.uint8], ...]:
        """The pictures of samples, uint8 [N, H, W, 3] an input; raises as `load` does."""
        return tuple(np.stack(column) for column in zip(*map(self.load, files), strict=True))


@dataclass(frozen=True)
class ImageCache:
    """The samples of a set that can be decoded.

    Attributes:
        source: of the set.
        names: in the set's order.
        files: the first file of each sample.
        smoothness: of that file's own pixels, see `smoothness`.
    """

    store: PictureStore
    source: str
    names: tuple[str, ...]
    files: tuple[Path, ...]
    smoothness: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for file in self.files:
            yield from self.store.load(file)


def cached(images: ImageSet, store: PictureStore) -> ImageCache:
    """Decode a set, leaving out what cannot be decoded.

    Raises:
        CalibrationError: see `images.decoded`.
    """
    every, names = images.names(), []
    files = []
    for index, _ in decoded(images, store.load):
        names.append(every[index])
        files.append(images.files[index])
        if len(names) % PROGRESS_EVERY == 0:
            _log.info("read %d of %d images", len(names), len(images.files))
    return ImageCache(store, images.source, tuple(names), tuple(files), tuple(map(store.smoothness, files)))


def smoothness(picture: Image.Image) -> float:
    """Correlation of neighbouring pixels in the middle of a picture.

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
    """Samples as a graph is fed with them, one at a time.

    Attributes:
        feed: pictures uint8 [B, H, W, 3], one array an input, to what the graph takes by name.
        batch: of a graph that takes no other; the sample is repeated.
        ranges: what a quantizer has observed on them, by what decides it; a second quantization observes nothing again.
    """

    images: ImageCache
    feed: Callable[[Sequence[NDArray[np.uint8]]], Feeds]
    batch: int = 1
    ranges: dict[str, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Feeds]:
        for done, file in enumerate(self.images.files):
            if done % PROGRESS_EVERY == 0:
                _log.info("observe ranges: %d of %d images", done, len(self))
            pictures = self.images.store.load(file)
            yield self.feed([np.repeat(picture[None], self.batch, axis=0) for picture in pictures])
