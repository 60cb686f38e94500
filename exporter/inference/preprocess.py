"""From a decoded picture to what a model takes: one implementation for parity, accuracy, calibration and examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slide_export.core.errors import CalibrationError

if TYPE_CHECKING:
    from slide_export.models import DataConfig

LARGEST_PIXELS = 89_478_485  # where Pillow takes a file for a decompression bomb
NO_CLASS = 255
"""What a map of classes has where its picture has nothing, as files have it where a pixel has none."""
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def crop(picture: Image.Image, data: DataConfig, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize and centre-crop a picture: uint8 [H, W, 3] RGB.

    Source: torchvision Resize and CenterCrop on PIL images, as every training code of the zoo uses them.

    Raises:
        CalibrationError: the picture is so narrow that resizing its short side gives more pixels than memory holds.
    """
    placed = _placed(picture.convert("RGB"), data, size, FILTERS[data.interpolation], data.fill)
    return np.asarray(placed, dtype=np.uint8)


def crop_label_map(numbers: Image.Image, data: DataConfig, size: tuple[int, int]) -> NDArray[np.int32]:
    """Resize and centre-crop a map of class numbers as its picture was: int32 [H, W]. Raises as `crop` does."""
    return np.asarray(_placed(numbers, data, size, Image.Resampling.NEAREST, NO_CLASS), dtype=np.int32)


def _placed(
    picture: Image.Image,
    data: DataConfig,
    size: tuple[int, int],
    resampling: Image.Resampling,
    fill: int | tuple[int, int, int],
) -> Image.Image:
    if data.fits:
        return _fitted(picture, data.fitted(size, (picture.height, picture.width)), size, resampling, fill)
    rows, cols = data.resized(size)
    if not data.resizes and picture.height >= size[0] and picture.width >= size[1]:
        return _middle(picture, size)
    if data.keep_aspect:
        factor = max(rows / picture.height, cols / picture.width)
        rows, cols = max(rows, int(picture.height * factor)), max(cols, int(picture.width * factor))
    if rows * cols > LARGEST_PIXELS:
        raise CalibrationError(
            f"expected pictures of {LARGEST_PIXELS} pixels at most once they are resized, found one of "
            f"{picture.height}x{picture.width} that becomes {rows}x{cols}: cut it"
        )
    return _middle(picture.resize((cols, rows), resampling), size)


def _fitted(
    picture: Image.Image,
    own: tuple[int, int],
    size: tuple[int, int],
    resampling: Image.Resampling,
    fill: int | tuple[int, int, int],
) -> Image.Image:
    """A picture of its own rows and columns at the top left of an input, the rest filled."""
    whole = Image.new(picture.mode, (size[1], size[0]), fill)
    whole.paste(picture.resize((own[1], own[0]), resampling), (0, 0))
    return whole


def _middle(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The centre crop of a picture."""
    top, left = round((picture.height - size[0]) / 2), round((picture.width - size[1]) / 2)
    return picture.crop((left, top, left + size[1], top + size[0]))


def normalise(pictures: NDArray[np.uint8], data: DataConfig) -> NDArray[np.float32]:
    """Normalise: uint8 [B, H, W, 3] RGB -> float32 [B, 3, H, W], (value/255 - mean) / std."""
    mean, std = np.array(data.mean, np.float32), np.array(data.std, np.float32)
    scaled = (pictures.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32)
