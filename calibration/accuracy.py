"""Top-1 accuracy on labelled images: one folder a class, scored alike for PyTorch and for an artifact."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slide_export.errors import CalibrationError
from slide_export.models import DataConfig

from .images import ImageSet, from_directory, read

CHUNK = 50  # images in memory at a time


def class_indices(images: ImageSet) -> NDArray[np.int64]:
    """Returns the class of each image: the place of its folder among the set's folders, sorted by name.

    Raises:
        CalibrationError: an image lies outside a class folder.
    """
    folders = [file.relative_to(images.root).parts[0] for file in images.files]
    stray = [file for file in images.files if file.parent == images.root]
    if stray:
        raise CalibrationError(f"expected one folder a class in {images.root}, found {stray[0].name} outside them")
    order = {folder: index for index, folder in enumerate(sorted(set(folders)))}
    return np.array([order[folder] for folder in folders])


def top1(
    scores: Callable[[NDArray[np.uint8]], NDArray[np.generic]], root: Path, data: DataConfig, size: tuple[int, int]
) -> float:
    """Returns the share of images below `root` whose best score is of their class.

    Args:
        scores: from cropped images, uint8 [B, H, W, 3], to [B, classes].
    """
    images = from_directory(root)
    classes = class_indices(images)
    right = 0
    for start in range(0, len(images.files), CHUNK):
        pictures = read(images.files[start : start + CHUNK], data, size)
        right += int((np.asarray(scores(pictures)).argmax(axis=1) == classes[start : start + CHUNK]).sum())
    return right / len(images.files)
