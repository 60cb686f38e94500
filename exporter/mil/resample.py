"""Bilinear sampling of a map at places that the program computes.

Source: coremltools 9.0 `converters/mil/mil/ops/defs/iOS15/image_resizing.py` (`resample`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .arguments import Arguments, Kernel, kernel


def places(coordinates: Tensor, size: int, *, align_corners: bool) -> Tensor:
    """Places in pixels, float64, of coordinates between -1 and 1 on an axis of `size` pixels.

    With `align_corners` -1 and 1 are the middles of the first and the last pixel, without the outer edges of them.
    """
    coordinates = coordinates.to(torch.float64)
    return (coordinates + 1) * (size - 1) / 2 if align_corners else ((coordinates + 1) * size - 1) / 2


def sample(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Sample x [B, C, H, W] at places in pixels [B, h, w], to [B, C, h, w]; outside everything is 0."""
    batch, channels, *_ = x.shape
    total = torch.zeros(batch, channels, rows[0].numel())
    for down in (0, 1):
        for right in (0, 1):
            row, col = rows.floor() + down, cols.floor() + right  # one of four neighbours
            weight = (1 - (rows - row).abs()) * (1 - (cols - col).abs())
            inside = (row >= 0) & (row < x.shape[2]) & (col >= 0) & (col < x.shape[3])
            index = torch.where(inside, row * x.shape[3] + col, 0).to(torch.int64).reshape(batch, 1, -1)
            found = x.flatten(2).gather(2, index.expand(-1, channels, -1))
            total += found * torch.where(inside, weight, 0.0).to(torch.float32).reshape(batch, 1, -1)
    return total.reshape(batch, channels, *rows.shape[1:])


def _resample(a: Arguments) -> Tensor:
    a.one_of("sampling_mode", None, "bilinear")
    a.one_of("padding_mode", None, "constant")
    a.one_of("coordinates_mode", None, "normalized_minus_one_to_one")
    if a.number("padding_value", 0.0) != 0.0:
        raise a.fail("a padding_value other than 0 is not implemented")
    x, coordinates = a.tensor("x"), a.tensor("coordinates")
    corners = a.flag("align_corners", False)
    cols, rows = (
        places(coordinates[..., n], size, align_corners=corners) for n, size in enumerate((x.shape[3], x.shape[2]))
    )
    return sample(x, rows, cols)


TABLE: Mapping[str, Kernel] = {
    "resample": kernel(
        _resample, "x coordinates sampling_mode padding_mode padding_value coordinates_mode align_corners"
    ),
}
