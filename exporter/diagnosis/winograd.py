"""What float32 rounds in a 3x3 convolution that a runtime computes by Winograd's minimal filtering.

Tiles of 6x6 pixels and the kernel are transformed, multiplied place by place, and each product is transformed back to
4x4 outputs: 36 multiplications in the place of 144. The transforms add and subtract numbers that nearly cancel, so the
result has an error some four times that of the sum itself, which is rounding all the same. Tiles of 8x8, which ncnn
takes where there are few channels, have four times that again, which is within what a diagnosis grants any runtime.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016, section 4, F(4x4, 3x3). The points are
those of ncnn's convolution_3x3_winograd.h, and so is the error: 118.1 dB of 256 channels in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

OUTPUTS, TAPS = 4, 3  # of a tile, along one axis
TILE = OUTPUTS + TAPS - 1
POINTS = (0.0, 2**0.5, -(2**0.5), 0.5**0.5, -(0.5**0.5))
"""Where the polynomials are evaluated, beside infinity. Of 1 and 2 in their place the error is twice as large."""


class ByWinograd(TorchFunctionMode):
    """A context in which dense 3x3 convolutions of stride 1 are computed so, whatever layer asks for them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute a convolution by tiles where that is possible, and all else as it is."""
        return (_conv2d if func is torch.conv2d else func)(*args, **(kwargs or {}))


def _conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    plain = groups == 1 and _pair(stride) == _pair(dilation) == (1, 1) and not isinstance(padding, str)
    if plain and tuple(weight.shape[2:]) == (TAPS, TAPS):
        return convolve(x, weight, bias, _pair(padding))
    return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)


def _pair(value: Any) -> tuple[int, int]:
    rows, cols = (value, value) if isinstance(value, int) else value
    return int(rows), int(cols)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
    """Convolve by tiles, in the type of x: [B, C, h, w] -> [B, D, h', w'].

    Args:
        weight: [D, C, 3, 3].
        padding: zeros above and below, and at the left and right.
    """
    back, kernel, forth = (matrix.to(x) for matrix in _transforms())
    above, beside = padding
    rows, cols = x.shape[2] + 2 * above - TAPS + 1, x.shape[3] + 2 * beside - TAPS + 1  # of the result
    down, right = -(-rows // OUTPUTS), -(-cols // OUTPUTS)  # tiles
    more = (down * OUTPUTS - rows, right * OUTPUTS - cols)
    padded = functional.pad(x, (beside, beside + more[1], above, above + more[0]))
    tiles = padded.unfold(2, TILE, OUTPUTS).unfold(3, TILE, OUTPUTS)  # [B, C, down, right, TILE, TILE]
    values = forth @ tiles @ forth.T
    weights = kernel @ weight @ kernel.T  # [D, C, TILE, TILE]
    products = torch.einsum("bcyxij,dcij->bdyxij", values, weights)
    made = back @ products @ back.T  # [B, D, down, right, OUTPUTS, OUTPUTS]
    whole = made.transpose(3, 4).reshape(len(x), -1, down * OUTPUTS, right * OUTPUTS)[:, :, :rows, :cols]
    return whole if bias is None else whole + bias[:, None, None]


@cache
def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """Of products to outputs [4, 6], of a kernel [6, 3] and of a tile [6, 6], along one axis.

    A polynomial of degree 5 is told by its values at five points and its leading coefficient. The transforms of the
    kernel and of the products are the first powers of the points, that of the tile is what goes back from values.
    """
    powers = np.vander(POINTS, TILE, increasing=True)

    def first(count: int) -> Tensor:
        """The powers below `count`, and at infinity the last of them."""
        return torch.from_numpy(np.vstack((powers[:, :count], np.eye(count)[-1])))

    return first(OUTPUTS).T, first(TAPS), torch.linalg.inv(first(TILE)).T
