"""Colours of classes, and pictures under them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPACITY = 0.5
FRAME = 2  # pixels


def palette(count: int) -> NDArray[np.uint8]:
    """A colour for each class, uint8 [count, 3]: the bits of its number spread over the three channels.

    Given   class 1, class 2, class 3
    Result  (128, 0, 0), (0, 128, 0), (128, 128, 0)

    Source: Everingham et al., PASCAL VOC development kit, VOClabelcolormap.
    """
    numbers = np.arange(count)
    colours = np.zeros((count, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def palette_of(told: Sequence[int]) -> NDArray[np.uint8]:
    """Colours of 256 classes: a file's, red, green, blue of each class in a row; else, and behind them, VOC's."""
    colours = palette(256)
    own = np.array(told, np.uint8).reshape(-1, 3)[: len(colours)]
    colours[: len(own)] = own
    return colours


def coloured(mask: NDArray[np.uint8], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours uint8 [h, w, 3] of classes [h, w], of a palette [256, 3]."""
    drawn: NDArray[np.uint8] = colours[mask]
    return drawn


def overlaid(picture: NDArray[np.uint8], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture uint8 [H, W, 3] under colours [h, w, 3], each of which covers its share of it."""
    rows, cols = (np.arange(side) * own // side for side, own in zip(picture.shape[:2], colours.shape[:2], strict=True))
    above = colours[rows[:, None], cols[None, :]]
    drawn: NDArray[np.uint8] = np.rint((1 - OPACITY) * picture + OPACITY * above).astype(np.uint8)
    return drawn


def framed(
    picture: NDArray[np.uint8], boxes: NDArray[np.floating], labels: NDArray[np.intp], colours: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """A copy of a picture [H, W, 3] with a frame of two pixels around each box [n, 4], best on top."""
    drawn = picture.copy()
    for box, label in list(zip(boxes, labels, strict=True))[::-1]:
        left, top, right, bottom = (round(float(value)) for value in box)
        colour = colours[int(label) % len(colours)]
        for y in (top, bottom - FRAME):
            drawn[max(0, y) : max(0, y + FRAME), max(0, left) : max(0, right)] = colour
        for x in (left, right - FRAME):
            drawn[max(0, top) : max(0, bottom), max(0, x) : max(0, x + FRAME)] = colour
    return drawn
