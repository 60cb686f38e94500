"""Arrays that a caller feeds -> the tensors that a program expects.

An image input is a plain tensor of 0..255 inside the program: coremltools 9.0 writes the scale and the bias of an
`ImageType` as `mul` and `add` operations into the program and leaves the interface's own preprocessing empty.

Source: coremltools 9.0 `converters/mil/mil/passes/defs/preprocess.py` (`image_input_preprocess`) and
`converters/mil/backend/mil/passes/insert_image_preprocessing_op.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from .errors import MilError
from .program import FLOAT_TYPES, STORAGE, Feature, MilType

Array = npt.NDArray[np.generic]


def tensors(
    feeds: Mapping[str, Array], features: Sequence[Feature], types: Mapping[str, MilType]
) -> dict[str, torch.Tensor]:
    """One tensor per input of the program, in its storage type.

    Args:
        feeds: arrays by feature name.
        features: the model's inputs.
        types: what the program declares for them.

    Raises:
        MilError: a name is missing or unknown, or an array has another shape or element type than the model takes.
    """
    names = [feature.name for feature in features]
    if set(feeds) != set(names):
        raise MilError(f"the inputs {sorted(names)} were expected, found {sorted(feeds)}")
    return {
        feature.name: _tensor(np.asarray(feeds[feature.name]), feature, types[feature.name]) for feature in features
    }


def _tensor(array: Array, feature: Feature, declared: MilType) -> torch.Tensor:
    if feature.kind not in ("array", "image"):
        raise MilError(f"input {feature.name!r}: {feature.kind} inputs are not implemented; arrays and images are")
    _check_element(array, feature, declared)
    if feature.kind == "image":
        array = _planes(array, feature)
    elif declared.shape == () and array.shape in ((), (1,)):  # the interface gives a scalar the shape (1,)
        array = array.reshape(())
    _check_shape(array.shape, feature, declared)
    return torch.from_numpy(np.array(array)).to(STORAGE[declared.element])


def _check_element(array: Array, feature: Feature, declared: MilType) -> None:
    kinds = {True: (np.floating, "float16 or float32"), False: (np.integer, "an integer type")}
    if feature.kind == "image":
        if array.dtype == np.uint8 or array.dtype in (np.float16, np.float32):
            return
        raise MilError(f"input {feature.name!r}: an image of uint8, or float 0..255, was expected, found {array.dtype}")
    wanted, words = kinds[declared.element in FLOAT_TYPES]
    if not np.issubdtype(array.dtype, wanted) or array.dtype == np.float64:
        raise MilError(f"input {feature.name!r} ({declared}): {words} was expected, found {array.dtype}")


def _planes(array: Array, feature: Feature) -> Array:
    """An image as (1, C, H, W) in the model's channel order.

    A uint8 array (H, W, C) is a picture and therefore RGB; four dimensions are taken as the program's own layout.
    """
    if array.ndim == 4:
        return array
    if array.ndim == 2:  # a gray picture (H, W)
        return array[None, None]
    if array.ndim != 3 or array.dtype != np.uint8:
        raise MilError(f"input {feature.name!r}: uint8 (H, W, C) or (1, C, H, W) was expected, found {array.shape}")
    channels = array[..., ::-1] if feature.color == "bgr" else array  # a picture is RGB, whatever the model stores
    return np.moveaxis(channels, -1, 0)[None]


def _check_shape(shape: tuple[int, ...], feature: Feature, declared: MilType) -> None:
    fixed = len(shape) == len(declared.shape) and all(
        size is None or size == found for size, found in zip(declared.shape, shape, strict=True)
    )
    if not fixed:
        raise MilError(f"input {feature.name!r}: shape {declared} was expected, found {shape}")
    if feature.choices and shape not in feature.choices:
        raise MilError(f"input {feature.name!r}: one of the shapes {feature.choices} was expected, found {shape}")
    for size, (low, high) in zip(shape, feature.ranges, strict=bool(feature.ranges)):
        if size < low or 0 <= high < size:  # a high of -1 is no limit
            raise MilError(f"input {feature.name!r}: sizes within {feature.ranges} were expected, found {shape}")
