"""The schema takes what the reader takes, and refuses what it refuses: both are asked about the same values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator

from slide_export.core.json_schema import DIALECT, schema_of
from slide_export.core.typed_json import FieldError, Least, Measured, Most, Sha256, read


@dataclass(frozen=True)
class Leaf:
    size: Annotated[int, Least(1), Most(3)]
    inner: "Leaf | None" = None


@dataclass(frozen=True)
class Whole:
    name: str
    kind: Literal["a", "b"]
    pair: tuple[int, int]
    many: tuple[str, ...]
    leaf: Leaf
    by_name: Mapping[str, float]
    sha256: Sha256
    measured: Measured
    flag: bool = False
    anything: Any = None
    said: str | None = field(default=None)


SOUND: dict[str, Any] = {
    "name": "n", "kind": "a", "pair": [1, 2], "many": [], "leaf": {"size": 1}, "by_name": {"x": 1.5},
    "sha256": "0" * 64, "measured": None,
}  # fmt: skip
ACCEPTED: list[dict[str, Any]] = [
    {},
    {"leaf": {"size": 3, "inner": {"size": 2}}},
    {"many": ["x", "y"]},
    {"flag": True},
    {"anything": [{"x": 1}]},
    {"said": "x"},
    {"measured": 0.5},
    {"by_name": {}},
]
REFUSED: list[dict[str, Any]] = [
    {"name": 3},
    {"kind": "c"},
    {"pair": [1]},
    {"pair": [1, 2, 3]},
    {"many": "xy"},
    {"leaf": {"size": 0}},
    {"leaf": {"size": 4}},
    {"leaf": {"size": 1, "other": 1}},
    {"leaf": {}},
    {"by_name": {"x": "y"}},
    {"sha256": "0" * 63},
    {"sha256": "G" * 64},
    {"flag": 1},
    {"said": 1},
    {"other": 1},
]
SCHEMA = schema_of(Whole)


def errors(value: dict[str, Any]) -> list[str]:
    return [one.message for one in Draft202012Validator(SCHEMA).iter_errors(value)]


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert (SCHEMA["$schema"], SCHEMA["title"]) == (DIALECT, "Whole")
    assert list(SCHEMA["$defs"]) == ["Leaf"]
    assert SCHEMA["required"] == ["name", "kind", "pair", "many", "leaf", "by_name", "sha256", "measured"]


@pytest.mark.parametrize("change", ACCEPTED)
def test_both_take_it(change: dict[str, Any]) -> None:
    value = {**SOUND, **change}
    assert errors(value) == []
    assert isinstance(read(Whole, value), Whole)


@pytest.mark.parametrize("change", REFUSED)
def test_both_refuse_it(change: dict[str, Any]) -> None:
    value = {**SOUND, **change}
    assert errors(value) != []
    with pytest.raises(FieldError):
        read(Whole, value)


@pytest.mark.parametrize("name", SOUND)
def test_both_ask_for_each_field_without_a_default(name: str) -> None:
    value = {key: one for key, one in SOUND.items() if key != name}
    assert errors(value) != []
    with pytest.raises(FieldError):
        read(Whole, value)
