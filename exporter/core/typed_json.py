"""JSON from and to frozen dataclasses: a text is read whole, each value in the type of its field, or refused by name.

    @dataclass(frozen=True)           {"name": "y", "shape": ["batch", 10]}  TensorSpec("y", ("batch", 10))
    class TensorSpec:                 {"name": "y", "shape": "batch"}        expected shape to be a list, found "batch"
        name: str                     {"name": "y"}                          expected shape to be a list, found nothing
        shape: tuple[int | str, ...]

Field types may be str, int, float, bool, None, `Literal`, a union, `tuple[T, ...]`, `tuple[A, B]`, `Mapping[str, T]`,
another dataclass, a `TypedDict`, and `Any` for JSON that belongs to somebody else. A field with a default may be left
out, and of a `TypedDict` what a class with `total=False` adds; a field that the type does not have is refused. Numbers
are finite, but for those that say `Measured`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

T = TypeVar("T")
WIDEST = 2**63  # whole numbers below it are what every language reads
DEEPEST = 50  # objects and lists in one another: whoever walks through them may be recursive
SHOWN = 60  # characters of a value that was found


@dataclass(frozen=True)
class Least:
    """The smallest number that a field takes."""

    value: int


@dataclass(frozen=True)
class Most:
    """The largest number that a field takes."""

    value: int


@dataclass(frozen=True)
class Pattern:
    """A regular expression for the whole of a text."""

    expression: str
    words: str


@dataclass(frozen=True)
class OrNull:
    """A number that stands as null in JSON where it is not finite, for JSON has no such number."""


Measured: TypeAlias = Annotated[float, OrNull()]
"""A number that a measurement or an artifact gave: null in JSON where it is infinite or not a number, read as NaN."""
Count: TypeAlias = Annotated[int, Least(0)]
Size: TypeAlias = Annotated[int, Least(1)]
Sha256: TypeAlias = Annotated[str, Pattern("[0-9a-f]{64}", "64 hexadecimal digits")]


class FieldError(ValueError):
    """A field is missing, unknown or of another type.

    Attributes:
        where: the path of the field, `parity.outputs[0].name` for instance; "" for the whole.
    """

    def __init__(self, where: str, expected: str, found: str) -> None:
        """Word the sentence."""
        super().__init__(f"expected {where or 'the whole'} to be {expected}, found {found}")
        self.where, self.expected, self.found = where, expected, found


def parse(text: str | bytes) -> Any:
    """JSON as plain values, each name of an object once.

    Raises:
        ValueError: the text is no JSON, is nested too deeply, or has a name twice.
    """
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    inside = [content]
    for _ in range(DEEPEST):
        inside = [part for value in inside if isinstance(value, dict | list) for part in _parts(value)]
    if inside:
        raise ValueError("it is nested too deeply")
    return content


def _parts(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has {twice[:SHOWN]!r} twice in one object")
    return content


def plain(value: Any) -> Any:
    """Dataclasses, tuples and mappings as the dictionaries and lists that JSON has."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


def finite(value: Any) -> Any:
    """Plain values with null for each number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    return [finite(part) for part in value] if isinstance(value, list) else value


def dumps(value: Any, indent: int | None = None) -> str:
    """JSON text of dataclasses and plain values, with null for each number that is not finite."""
    return json.dumps(finite(plain(value)), indent=indent, allow_nan=False)


def read(kind: type[T], value: Any, where: str = "") -> T:
    """Plain values as a value of a type.

    Args:
        value: what `parse` gave.
        where: the path that messages begin with.

    Raises:
        FieldError: names the first field that is missing, unknown or of another type.
    """
    return cast("T", _read(kind, value, where))


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return _foreign(value, where)
    if origin is Annotated:
        return _limited(arguments[0], arguments[1:], value, where)
    if origin in (Union, UnionType):
        return _one_of(arguments, value, where)
    if origin is Literal:
        if any(type(value) is type(choice) and value == choice for choice in arguments):
            return value
        raise FieldError(where, _expected(kind), said(value))
    if not _fits(kind, value):
        raise FieldError(where, _expected(kind), said(value))
    if is_dataclass(kind):
        return _object(kind, value, where)
    if is_typeddict(kind):
        return _typed_dict(kind, value, where)
    if origin is tuple:
        return _tuple(arguments, value, where)
    if _is_mapping(origin):
        return {name: _read(arguments[1], part, _inside(where, name)) for name, part in value.items()}
    return float(value) if kind is float else value


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value is of the JSON type that a field type is written in."""
    if is_dataclass(kind) or is_typeddict(kind) or _is_mapping(get_origin(kind)):
        return isinstance(value, dict)
    if get_origin(kind) is tuple:
        return isinstance(value, list)
    if kind in (int, float):
        whole = type(value) is int and -WIDEST < value < WIDEST
        return whole or (kind is float and type(value) is float and math.isfinite(value))
    return type(value) is kind


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _object(kind: Any, value: dict[str, Any], where: str) -> Any:
    hints, known = hints_of(kind), {field.name: field for field in fields(kind)}
    _refuse_unknown(known, value, where)
    read_fields = {}
    for name, field in known.items():
        if name in value:
            read_fields[name] = _read(hints[name], value[name], _inside(where, name))
        elif required(field):
            raise FieldError(_inside(where, name), _expected(hints[name]), "nothing")
    return kind(**read_fields)


def _typed_dict(kind: Any, value: dict[str, Any], where: str) -> dict[str, Any]:
    hints = hints_of(kind)
    _refuse_unknown(hints, value, where)
    for name in sorted(kind.__required_keys__ - value.keys()):
        raise FieldError(_inside(where, name), _expected(hints[name]), "nothing")
    return {name: _read(hints[name], part, _inside(where, name)) for name, part in value.items()}


def _refuse_unknown(known: Iterable[str], value: dict[str, Any], where: str) -> None:
    for name in value:
        if name not in known:
            listed = ", ".join(known)
            raise FieldError(_inside(where, name), f"absent (the fields are {listed})", said(value[name]))


@cache
def hints_of(kind: type) -> Mapping[str, Any]:
    """The field types of a dataclass, `Annotated` ones whole."""
    return get_type_hints(kind, include_extras=True)


def required(field: Field[Any]) -> bool:
    """Whether a field must be there."""
    return field.default is MISSING and field.default_factory is MISSING


def _tuple(arguments: tuple[Any, ...], value: list[Any], where: str) -> tuple[Any, ...]:
    if arguments[-1] is Ellipsis:
        return tuple(_read(arguments[0], part, f"{where}[{index}]") for index, part in enumerate(value))
    if len(value) != len(arguments):
        raise FieldError(where, f"a list of {len(arguments)}", said(value))
    pairs = enumerate(zip(arguments, value, strict=True))
    return tuple(_read(kind, part, f"{where}[{index}]") for index, (kind, part) in pairs)


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """A value in the one of several types that JSON tells apart: at most one of them is a list, one an object."""
    for kind in kinds:
        bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        if kind is NoneType and value is None:
            return None
        if kind is not NoneType and _fits(bare, value):
            return _read(kind, value, where)
    raise FieldError(where, " or ".join(map(_expected, kinds)), said(value))


def _limited(kind: Any, limits: Iterable[Any], value: Any, where: str) -> Any:
    for limit in limits:
        match limit:
            case OrNull() if value is None:
                return math.nan
            case Least(least) if _fits(kind, value) and value < least:
                raise FieldError(where, f"at least {least}", said(value))
            case Most(most) if _fits(kind, value) and value > most:
                raise FieldError(where, f"at most {most}", said(value))
            case Pattern(expression, words) if _fits(kind, value) and not re.fullmatch(expression, value):
                raise FieldError(where, words, said(value))
    return _read(kind, value, where)


def _foreign(value: Any, where: str) -> Any:
    """JSON of any shape whose numbers are finite."""
    if isinstance(value, dict):
        return {name: _foreign(part, _inside(where, name)) for name, part in value.items()}
    if isinstance(value, list):
        return [_foreign(part, f"{where}[{index}]") for index, part in enumerate(value)]
    if isinstance(value, int | float) and not _fits(float, value) and not isinstance(value, bool):
        raise FieldError(where, "a finite number", said(value))
    return value


def _inside(where: str, name: str) -> str:
    short = name if len(name) <= SHOWN else f"{name[:SHOWN]}…"
    word = short if re.fullmatch(r"[\w.-]+…?", short, re.ASCII) else json.dumps(short)
    return f"{where}.{word}" if where else word


def _expected(kind: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        null = " or null" if any(isinstance(limit, OrNull) for limit in arguments[1:]) else ""
        return _expected(arguments[0]) + null
    if origin in (Union, UnionType):
        return " or ".join(map(_expected, arguments))
    if origin is Literal:
        return " or ".join(map(json.dumps, arguments))
    if origin is tuple:
        return "a list"
    words = {str: "text", int: "a whole number", float: "a finite number", bool: "true or false", NoneType: "null"}
    return "JSON" if kind is Any else words.get(kind, "an object")


def said(value: Any) -> str:
    """What was found, short."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
