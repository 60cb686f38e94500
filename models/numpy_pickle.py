"""Reads a pickle of NumPy arrays without running anything in it: the file that MegEngine writes of an NBNet.

    {'epoch': 42, 'state_dict': OrderedDict(name -> float32 array)}

A pickle is a program: it names functions, and the usual reader imports and calls them. Here the four names that an
array needs are stand-ins that note their arguments, every other name is refused, and arrays are made of the noted bytes
afterwards. No loader calls it yet, because `FAMILIES` lacks NBNet.

Source: Python's pickletools; numpy 1.26, numpy/_core/src/multiarray/methods.c, array_reduce and array_setstate.
"""

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

KINDS = ("f2", "f4", "f8", "i4", "i8")
CORE = ("numpy.core.multiarray", "numpy._core.multiarray")  # NumPy 1 and NumPy 2


class PickleRefused(ValueError):
    """The file is no pickle of plain arrays; the message says what was found and what to do."""


class _Dtype:
    """What the file says of an element type: `numpy.dtype(kind, align, copy)`, then its state with the byte order."""

    def __init__(self, kind: object, *_: object) -> None:
        self.kind, self.order = kind, "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


class _Array:
    """What the file says of an array: (version, shape, element type, Fortran order, bytes)."""

    said: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.said = state


def _reconstruct(*_: object) -> _Array:
    return _Array()


class _Reader(pickle.Unpickler):
    """Takes the stand-ins for the names of an array, and no other name."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for one of the few names that a numpy pickle may use."""
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("numpy", "ndarray"): _Array,
            ("numpy", "dtype"): _Dtype,
            **{(core, "_reconstruct"): _reconstruct for core in CORE},
        }
        if (module, name) not in known:
            raise PickleRefused(
                f"expected arrays and plain values, the file asks to import {module}.{name}, which could run code: "
                "save the arrays alone"
            )
        return known[module, name]

    def persistent_load(self, _pid: object) -> Any:
        """Refuse what lies outside the file."""
        raise PickleRefused("expected arrays inside the file, it refers to something outside")


def read(content: bytes) -> Mapping[str, Any]:
    """The top level of a pickle, with a tensor in each array's place.

    Args:
        content: of the file.

    Raises:
        PickleRefused: it is damaged, is no dictionary, or holds something else than arrays and plain values.
    """
    try:
        found = _Reader(io.BytesIO(content)).load()
    except PickleRefused:
        raise
    except (
        pickle.UnpicklingError,
        EOFError,
        AttributeError,
        IndexError,
        KeyError,
        MemoryError,
        OverflowError,
        TypeError,
        ValueError,
    ) as error:
        raise PickleRefused(f"expected a pickle of arrays, the file is damaged or something else ({error})") from error
    if not isinstance(found, dict):
        raise PickleRefused(f"expected a dictionary of arrays, found a {type(found).__name__}")
    return {key: _plain(value) for key, value in found.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return _tensor(value)
    if isinstance(value, dict):
        return OrderedDict((key, _plain(item)) for key, item in value.items())
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise PickleRefused(f"expected arrays and plain values, found a {type(value).__name__}")


def _tensor(array: _Array) -> Tensor:
    """The tensor that the file's words about an array make.

    Raises:
        PickleRefused: they make none.
    """
    if len(array.said) != 5 or not isinstance(array.said[2], _Dtype):
        raise PickleRefused("expected an array of shape, element type and bytes, found something else")
    _, shape, kind, fortran, raw = array.said
    if not isinstance(raw, bytes) or kind.kind not in KINDS or kind.order not in ("<", "=", "|"):
        raise PickleRefused(f"expected little-endian numbers of {', '.join(KINDS)}, found {kind.order}{kind.kind}")
    if not isinstance(shape, tuple) or not all(isinstance(side, int) and side >= 0 for side in shape):
        raise PickleRefused(f"expected an array's shape, found {shape!r}")
    numbers = np.dtype(f"<{kind.kind}")
    if math.prod(shape) * numbers.itemsize != len(raw):
        raise PickleRefused(f"expected {math.prod(shape)} numbers of an array {list(shape)}, found {len(raw)} bytes")
    flat = np.frombuffer(raw, numbers).reshape(shape, order="F" if fortran else "C")
    return torch.from_numpy(flat.copy(order="C"))
