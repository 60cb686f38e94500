"""One image to a class at each of its pixels: logits at a quarter of its size, at its own, or the classes themselves.

`mask` gives the logits beside the classes: they are what the proof measures, and cost a device next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from slide_export.core.errors import RequestError, option
from slide_export.core.measure import Measure
from slide_export.core.task import Task

from .answers.mean_iou import MeanIou
from .answers.palette import coloured, overlaid, palette_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from slide_export.core.artifact import ModelIO, Outputs

LOGITS, RESIZED, MASK = "logits", "resized", "mask"
MOST_CLASSES = 256  # that uint8 tells apart
SHOWN = 5  # classes of an answer
IMAGES, LABELS = "images", "labels"  # folders of pictures and of their maps of classes
MAX_DROP = 1.0  # points of mean IoU


def outputs(io: ModelIO) -> tuple[str, ...]:
    """The logits, and the classes of pixels where these are asked for."""
    return (LOGITS, MASK) if io.output == MASK else (LOGITS,)


def classes(io: ModelIO) -> tuple[str, ...]:
    """Outputs that are classes already."""
    return (MASK,) if io.output == MASK else ()


def run(module: nn.Module, images: tuple[Tensor, ...], io: ModelIO) -> tuple[Tensor, ...]:
    """Logits [B, K, h, w] of images [B, 3, H, W], h = H unless at a quarter; and classes uint8 [B, H, W]."""
    logits = module(*images)
    if io.output not in (RESIZED, MASK):
        return (logits,)
    size = (images[0].shape[2], images[0].shape[3])
    enlarged = module.enlarged(logits, size)  # type: ignore[operator]  # a method
    if io.output == RESIZED:
        return (enlarged,)
    return logits, module.decided(enlarged)  # type: ignore[operator]  # a method


def margins(module: nn.Module, found: Mapping[str, Tensor], size: tuple[int, int], io: ModelIO) -> Mapping[str, Tensor]:
    """By how much the class of each pixel is preferred to the next, in the logits' units: [B, H, W]."""
    if io.output != MASK:
        return {}
    return {MASK: module.margins(module.enlarged(found[LOGITS], size))}  # type: ignore[operator]  # methods


def check(io: ModelIO, config: Any) -> None:
    """Refuse what no map of classes can have.

    Raises:
        RequestError: softmax, labels that are not one a class, or more classes than a byte tells apart.
    """
    if io.softmax:
        raise RequestError(f"expected a segmenter without {option('softmax')}: the largest logit tells the class")
    count = config.num_classes
    if io.labels and len(io.labels) not in ((1, 2) if count == 1 else (count,)):
        raise RequestError(f"expected {count} labels, one a class of the head; found {len(io.labels)}")
    if io.output == MASK and count > MOST_CLASSES:
        raise RequestError(f"expected at most {MOST_CLASSES} classes for a mask of bytes, found {count}")


def mask_of(found: Outputs) -> NDArray[np.uint8]:
    """Classes [h, w] of one image: the mask, or the largest of its logits; of a single one, whether it is above 0."""
    if MASK in found:
        return np.asarray(found[MASK][0], np.uint8)
    logits = found[LOGITS][0]
    return np.asarray(logits[0] > 0 if len(logits) == 1 else logits.argmax(axis=0), np.uint8)


def draw(found: Outputs, labels: Sequence[str]) -> tuple[str, ...]:
    """The classes that cover most of the picture, largest first: "road   61.20%"."""
    mask = mask_of(found)
    numbers, counts = np.unique(mask, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:SHOWN]
    names = [labels[n] if n < len(labels) else f"class {n}" for n in numbers[order]]
    width = max(map(len, names))
    return tuple(f"{name:<{width}}  {counts[at] / mask.size:7.2%}" for name, at in zip(names, order, strict=True))


def picture(found: Outputs, pictures: Sequence[NDArray[np.uint8]], config: Any) -> NDArray[np.uint8]:
    """The picture, and beside it the picture under the colours of its classes, uint8 [H, 2W, 3]."""
    colours = coloured(mask_of(found), palette_of(config.palette))
    return np.concatenate([pictures[0], overlaid(pictures[0], colours)], axis=1)


SEGMENT = Task(
    "segment",
    outputs,
    run,
    draw,
    decision_axis=1,
    choices=(LOGITS, RESIZED, MASK),
    classes=classes,
    margins=margins,
    check=check,
    measure=Measure("mIoU", "points", MAX_DROP, (IMAGES, LABELS), MeanIou),
    picture=picture,
)
