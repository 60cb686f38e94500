"""Resizing of the last dimensions, by nearest neighbour or by linear interpolation.

Every mode is a grid of fractional source positions per axis; the interpolation itself is one function. Linear in two
dimensions is linear along one axis after the other.

Source: coremltools 9.0 `converters/mil/mil/ops/defs/iOS15/image_resizing.py` (`resize_bilinear`: the five sampling
modes; `upsample_bilinear`: `align_corners`), `iOS16/image_resizing.py` (`half_pixel_centers`),
`iOS17/image_resizing.py` (`resize`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .arguments import Arguments, Kernel, kernel

SAMPLING = ("DEFAULT", "STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "OFFSET_CORNERS", "UNALIGN_CORNERS")


def grid(mode: str, size: int, target: int) -> Tensor:
    """Source positions in [0, size - 1] of the `target` samples, shape (target,).

    4 elements sampled at 2 places:

        UNALIGN_CORNERS   0.5  2.5      samples in the middle of equal parts
        OFFSET_CORNERS    0.75 2.25     the same over the distance of the outermost elements
        DEFAULT           0    2        samples where equal parts begin
        *ALIGN_CORNERS    0    3        the outermost samples on the outermost elements

    They part for one sample: ALIGN_CORNERS takes the middle, STRICT_ALIGN_CORNERS the first element.

    Args:
        mode: one of `SAMPLING`.
        size: number of elements of the source axis.
        target: number of samples.
    """
    steps = torch.arange(target, dtype=torch.float64)  # float64: positions decide which elements are taken
    if mode == "UNALIGN_CORNERS":
        positions = (steps + 0.5) * (size / target) - 0.5
    elif mode == "OFFSET_CORNERS":
        positions = (steps + 0.5) * (max(1, size - 1) / target)
    elif mode == "DEFAULT":
        positions = steps * (size / target)
    elif mode == "ALIGN_CORNERS" and target == 1:
        positions = torch.full((1,), (size - 1) / 2, dtype=torch.float64)
    else:
        positions = steps * ((size - 1) / max(target - 1, 1))
    return positions.clamp(0, size - 1)


def interpolate(x: Tensor, axis: int, positions: Tensor) -> Tensor:
    """`x` sampled linearly at fractional `positions` along `axis`."""
    low = positions.floor().to(torch.int64)
    high = (low + 1).clamp(max=x.shape[axis] - 1)  # beyond the last element its weight is 0
    weight = (positions - low).to(torch.float32)
    # Broadcast along the other axes.
    weight = weight.reshape([-1 if i == axis % x.dim() else 1 for i in range(x.dim())])
    return torch.lerp(x.index_select(axis, low), x.index_select(axis, high), weight)


def _linear(x: Tensor, mode: str, targets: Sequence[int]) -> Tensor:
    first = x.dim() - len(targets)
    for axis, target in enumerate(targets, first):
        x = interpolate(x, axis, grid(mode, x.shape[axis], target))  # one axis after the other: bilinear is separable
    return x


def _nearest(x: Tensor, targets: Sequence[int]) -> Tensor:
    first = x.dim() - len(targets)
    for axis, target in enumerate(targets, first):
        # In integers: a quotient is cut exactly.
        positions = torch.arange(target, dtype=torch.int64) * x.shape[axis] // target
        x = x.index_select(axis, positions)
    return x


def _scaled(a: Arguments, x: Tensor) -> list[int]:
    """Target height and width of the `upsample_*` operations: the size times the factor, rounded down."""
    factors = (a.number("scale_factor_height", 1.0), a.number("scale_factor_width", 1.0))
    return [int(size * factor) for size, factor in zip(x.shape[-2:], factors, strict=True)]


def _targets(a: Arguments) -> list[int]:
    return [a.integer("target_size_height", 1), a.integer("target_size_width", 1)]


def _upsample_nearest_neighbor(a: Arguments) -> Tensor:
    x = a.tensor("x")
    return _nearest(x, _scaled(a, x))


def _upsample_bilinear(a: Arguments) -> Tensor:
    x = a.tensor("x")
    corners = a.flag("align_corners", True)
    half_pixel = a.flag("half_pixel_centers", not corners)
    if corners and half_pixel:
        raise a.fail("align_corners and half_pixel_centers together are not implemented")
    mode = "STRICT_ALIGN_CORNERS" if corners else "UNALIGN_CORNERS" if half_pixel else "DEFAULT"
    return _linear(x, mode, _scaled(a, x))


def _resize_bilinear(a: Arguments) -> Tensor:
    return _linear(a.tensor("x"), a.one_of("sampling_mode", "DEFAULT", *SAMPLING), _targets(a))


def _resize_nearest_neighbor(a: Arguments) -> Tensor:
    return _nearest(a.tensor("x"), _targets(a))


def _resize(a: Arguments) -> Tensor:
    x, count = a.tensor("x"), a.integer("resized_dims")
    asked = a.integers("shape")[-count:] if count else []
    targets = [size or x.shape[axis] for axis, size in enumerate(asked, x.dim() - count)]  # 0 keeps the size
    linear = a.one_of("interpolation_mode", "LINEAR", "LINEAR", "NEAREST_NEIGHBOR") == "LINEAR"
    mode = a.one_of("sampling_mode", "DEFAULT", *SAMPLING)
    return _linear(x, mode, targets) if linear else _rounded(a, x, mode, targets)


def _rounded(a: Arguments, x: Tensor, mode: str, targets: Sequence[int]) -> Tensor:
    """The element nearest to each position of the `DEFAULT` grid.

    That positions are rounded, not cut as in `resize_nearest_neighbor`, is known from one test of coremltools 9.0
    (iOS17/test_image_resizing.py, `test_resize_nearest_neighbor`: 2 -> 3 takes 0, 1, 1). Ties it does not show.
    """
    first = x.dim() - len(targets)
    for axis, target in enumerate(targets, first):
        positions = grid(mode, x.shape[axis], target)
        if mode != "DEFAULT" or bool((positions.frac() == 0.5).any()):
            raise a.fail(
                f"NEAREST_NEIGHBOR in mode {mode} from {x.shape[axis]} to {target} elements is not implemented"
            )
        x = x.index_select(axis, positions.round().to(torch.int64))
    return x


TABLE: Mapping[str, Kernel] = {
    "resize": kernel(_resize, "x shape resized_dims interpolation_mode sampling_mode"),
    "resize_bilinear": kernel(_resize_bilinear, "x target_size_height target_size_width sampling_mode"),
    "resize_nearest_neighbor": kernel(_resize_nearest_neighbor, "x target_size_height target_size_width"),
    "upsample_bilinear": kernel(
        _upsample_bilinear, "x scale_factor_height scale_factor_width align_corners half_pixel_centers"
    ),
    "upsample_nearest_neighbor": kernel(_upsample_nearest_neighbor, "x scale_factor_height scale_factor_width"),
}
