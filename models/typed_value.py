"""Values of a configuration, of the type that a field has: [2, 2.0] for tuple[int, ...] -> (2, 2).

What is of another type is refused by the field's name: True is no number, 2.5 and infinity no whole one.
"""

import sys
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from .family import ShapeError

WIDEST = 1 << 31  # whole numbers of a model stay far below
NAMES = {int: "a whole number", float: "a finite number", bool: "True or False", str: "a text", NoneType: "None"}


def typed(value: Any, kind: Any, name: str) -> Any:
    """Read a value as a field's type says.

    Args:
        value: as a file has it.
        kind: int, float, bool, str, None, a literal, a tuple, or a union of them.
        name: of the field, for errors.

    Raises:
        ShapeError: it is of another type.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if value is None and NoneType in inner else typed(value, inner[0], name)
    if origin is tuple:
        return _tuple(value, inner, name)
    if origin is Literal:
        if value not in inner:
            _refuse(value, name, " or ".join(map(repr, inner)))
        return value
    return _single(value, kind, name)


def _tuple(value: Any, inner: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        _refuse(value, name, "a list of values")
    many = inner[-1] is Ellipsis
    if not many and len(value) != len(inner):
        _refuse(value, name, f"{len(inner)} values")
    kinds = [inner[0]] * len(value) if many else inner
    return tuple(typed(item, kind, name) for item, kind in zip(value, kinds, strict=True))


def _single(value: Any, kind: Any, name: str) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        int: number and abs(value) < WIDEST and value == int(value),
        float: number and abs(value) <= sys.float_info.max,
        bool: isinstance(value, bool),
        str: isinstance(value, str),
        NoneType: value is None,
    }
    if not fits.get(kind, True):
        _refuse(value, name, NAMES[kind])
    return kind(value) if kind in (int, float) else value


def _refuse(value: Any, name: str, expected: str) -> None:
    """Refuse a value.

    Raises:
        ShapeError: always.
    """
    raise ShapeError(f"{name} {value!r}, where {expected} is expected")
