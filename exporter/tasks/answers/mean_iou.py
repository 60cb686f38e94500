"""How well a segmenter's classes cover the truth's: mean over classes of intersection over union.

Source: Everingham et al., The Pascal Visual Object Classes Challenge, 2015, section 3.3; open-mmlab/mmsegmentation
1.2.2, evaluation/metrics/iou_metric.py, IoUMetric: a class that neither has is left out of the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slide_export.core.errors import CalibrationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slide_export.core.artifact import Array, Outputs
    from slide_export.core.measure import Truths

IGNORED = 255
LOGITS, MASK = "logits", "mask"


class MeanIou:
    """Pixels counted by class of the truth and class found.

    Args:
        read: gives the map of classes of a file, at the input's size.
        config: of the model: its classes, how their numbers are written, how logits are resized.
    """

    def __init__(self, read: Truths, config: Any) -> None:
        self.read, self.config = read, config
        self.count = max(2, config.num_classes)  # a single class, or not
        self.confusion = np.zeros((self.count, self.count), np.int64)  # truth, found

    def add(self, found: Outputs, pictures: Sequence[NDArray[np.uint8]], truths: Sequence[Path]) -> None:
        """Count images [B, ...]."""
        size = pictures[0].shape[1:3]
        for index, file in enumerate(truths):
            row = {name: value[index : index + 1] for name, value in found.items()}
            mask, truth = mask_of(row, size, self.config), self._truth(file)
            counted = truth != IGNORED
            pairs = truth[counted] * self.count + mask[counted]
            self.confusion += np.bincount(pairs, minlength=self.count**2).reshape(self.count, -1)

    def plain(self) -> list[list[int]]:
        """Pixels by class of the truth and class found."""
        counts: list[list[int]] = self.confusion.tolist()
        return counts

    def extend(self, plain: Any, _truths: Sequence[Path]) -> None:
        """Take in the pixels of the images that follow."""
        self.confusion += np.array(plain, np.int64)

    def _truth(self, file: Path) -> NDArray[np.int64]:
        """Classes of a file's pixels; those that are of none are `IGNORED`.

        Raises:
            CalibrationError: a number is of no class.
        """
        numbers = self.read.label_map(file).astype(np.int64)
        if self.config.reduce_zero_label:
            numbers = np.where((numbers == 0) | (numbers == IGNORED), IGNORED, numbers - 1)
        wrong = (numbers != IGNORED) & ((numbers < 0) | (numbers >= self.count))
        if wrong.any():
            raise CalibrationError(
                f"expected classes from 0 to {self.count - 1} in {file}, or {IGNORED} for none; found "
                f"{int(numbers[wrong][0])}: does the model count from 1 (reduce_zero_label)?"
            )
        return numbers

    @property
    def value(self) -> float:
        """The mean, in points.

        Raises:
            CalibrationError: no pixel has a class.
        """
        hits = np.diag(self.confusion)
        union = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) - hits
        if not union.any():
            raise CalibrationError(f"expected pixels of some class in the label maps, found {IGNORED} everywhere")
        return 100 * float((hits[union > 0] / union[union > 0]).mean())

    @property
    def others(self) -> dict[str, float]:
        """Share of pixels whose class is right."""
        return {"pixel accuracy (%)": 100 * float(np.diag(self.confusion).sum() / self.confusion.sum())}


def mask_of(found: Outputs, size: tuple[int, ...], config: Any) -> NDArray[np.uint8]:
    """Classes [H, W] of one image at the input's size, of its mask or of its logits at any size."""
    if MASK in found:
        return np.asarray(found[MASK][0], np.uint8)
    logits = _enlarged(np.asarray(found[LOGITS], np.float32), size, align_corners=config.align_corners)[0]
    if len(logits) == 1:
        limit = np.log(config.threshold / (1 - config.threshold))
        return np.asarray(logits[0] > limit, np.uint8)
    return np.asarray(logits.argmax(axis=0), np.uint8 if len(logits) <= IGNORED else np.int64)


def _enlarged(logits: Array, size: tuple[int, ...], *, align_corners: bool) -> Array:
    import torch
    from torch.nn import functional

    if logits.shape[2:] == size:
        return logits
    resized: Array = functional.interpolate(
        torch.from_numpy(logits), size=size, mode="bilinear", align_corners=align_corners
    ).numpy()
    return resized
