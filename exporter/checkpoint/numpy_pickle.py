"""Reads a pickle of NumPy arrays without running anything in it: the file that MegEngine writes of an NBNet.

    {'epoch': 42, 'state_dict': OrderedDict(name -> float32 array)}

A pickle is a program: it names functions, and the usual reader imports and calls them. Here the four names that an
array needs are stand-ins that note their arguments, every other name is refused, and arrays are made of the noted bytes
afterwards. `refuse_opcodes` looks at the program before it is read.

Source: Python's pickletools; numpy 1.26, numpy/_core/src/multiarray/methods.c, array_reduce and array_setstate.
"""

import io
import math
import mmap
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slide_export.core.errors import CheckpointError
from slide_export.core.text import foreign

KINDS = ("f2", "f4", "f8", "i4", "i8")
CORE = ("numpy.core.multiarray", "numpy._core.multiarray")  # NumPy 1 and NumPy 2
MAKER = b"_reconstruct"
PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How torch.save's older format begins: a pickle of its magic number."""
OPCODES = frozenset(
    """
    PROTO FRAME STOP MARK EMPTY_DICT EMPTY_LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 NONE NEWTRUE NEWFALSE BININT
    BININT1 BININT2 LONG1 BINFLOAT SHORT_BINUNICODE BINUNICODE SHORT_BINBYTES BINBYTES BINBYTES8 MEMOIZE BINPUT
    LONG_BINPUT BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD SETITEM SETITEMS APPEND APPENDS
    """.split()  # noqa: SIM905
)
"""All that a dictionary of arrays and plain values needs."""
TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
DEEPEST = 4  # dictionaries in each other


class PickleRefused(ValueError):
    """The file is no pickle of plain arrays; the message says what was found and what to do."""


def is_numpy_pickle(path: Path) -> bool:
    """Whether a file is a bare pickle, none of torch's, in which an array is made."""
    with path.open("rb") as file:
        start = file.read(len(TORCH))
        if not start.startswith(PROTOCOLS) or start == TORCH:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(MAKER) >= 0


def read_numpy_pickle(path: Path) -> Mapping[str, Any]:
    """The top level of a pickle file, with a tensor in each array's place.

    Raises:
        CheckpointError: see `read`.
    """
    try:
        return read(path.read_bytes())
    except PickleRefused as error:
        raise CheckpointError(f"{error} ({path})") from error


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


class _Reader(pickle.Unpickler):
    """Takes the stand-ins for the names of an array, and no other name."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for one of the few names that a numpy pickle may use."""
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("numpy", "ndarray"): _Array,
            ("numpy", "dtype"): _Dtype,
            **{(core, "_reconstruct"): lambda *_: _Array() for core in CORE},
        }
        if (module, name) not in known:
            raise PickleRefused(
                f"expected arrays and plain values, the file asks to import {foreign(f'{module}.{name}')}, which could "
                "run code: save the arrays alone"
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
        refuse_opcodes(content)
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
        raise PickleRefused(
            f"expected a pickle of arrays, the file is damaged or something else ({foreign(error)})"
        ) from error
    if not isinstance(found, dict):
        raise PickleRefused(f"expected a dictionary of arrays, found a {type(found).__name__}")
    made: dict[int, Tensor] = {}
    return {key: _plain(value, made) for key, value in found.items()}


def refuse_opcodes(content: bytes) -> None:
    """Refuse a program that does what no dictionary of arrays needs.

    1. An opcode that is not listed.
    2. A place in the memo that is not the next one: one far off is memory that the file says nothing of.
    3. A tuple that is used again: one that holds another twice, which holds another twice, takes years to hash.

    Raises:
        PickleRefused: it is so, or the program has no end.
    """
    tuples, memo, last = set[int](), 0, ""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name not in OPCODES:  # Case 1
            raise PickleRefused(f"expected a pickle of arrays and plain values, found the opcode {opcode.name}")
        if opcode.name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            place = memo if opcode.name == "MEMOIZE" else int(argument or 0)
            if place > memo:  # Case 2
                raise PickleRefused(f"expected a pickle of arrays, found its item {memo} remembered as {place}")
            memo = max(memo, place + 1)
            (tuples.add if last in TUPLES else tuples.discard)(place)
        elif opcode.name in ("BINGET", "LONG_BINGET") and argument in tuples:  # Case 3
            raise PickleRefused("expected a pickle of arrays, found a tuple that is used twice")
        last = opcode.name


def _plain(value: Any, made: dict[int, Tensor], depth: int = 1) -> Any:
    """The value with a tensor in each array's place, one where an array stands twice."""
    if isinstance(value, _Array):
        if id(value) not in made:
            made[id(value)] = _tensor(value)
        return made[id(value)]
    if isinstance(value, dict) and depth < DEEPEST:
        return OrderedDict((key, _plain(item, made, depth + 1)) for key, item in value.items())
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
        raise PickleRefused(
            f"expected little-endian numbers of {', '.join(KINDS)}, found {foreign(f'{kind.order}{kind.kind}')}"
        )
    if not isinstance(shape, tuple) or not all(isinstance(side, int) and side >= 0 for side in shape):
        raise PickleRefused(f"expected an array's shape, found {foreign(shape)}")
    numbers = np.dtype(f"<{kind.kind}")
    if math.prod(shape) * numbers.itemsize != len(raw):
        raise PickleRefused(f"expected {math.prod(shape)} numbers of an array {list(shape)}, found {len(raw)} bytes")
    flat = np.frombuffer(raw, numbers).reshape(shape, order="F" if fortran else "C")
    return torch.from_numpy(flat.copy(order="C"))
