"""Colours of classes, and pictures under them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPACITY = 0.5


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


def coloured(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours uint8 [h, w, 3] of classes [h, w]."""
    colours: NDArray[np.uint8] = palette(256)[mask]
    return colours


def overlaid(picture: NDArray[np.uint8], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture uint8 [H, W, 3] under colours [h, w, 3], each of which covers its share of it."""
    rows, cols = (np.arange(side) * own // side for side, own in zip(picture.shape[:2], colours.shape[:2], strict=True))
    above = colours[rows[:, None], cols[None, :]]
    return np.rint((1 - OPACITY) * picture + OPACITY * above).astype(np.uint8)
