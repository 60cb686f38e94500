"""Each type of field reads what JSON has for it and names what it is not; the schema says the same."""

import ast
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import pytest
from jsonschema import Draft202012Validator

from slide_export.core import typed_json
from slide_export.core.json_schema import schema_of
from slide_export.core.typed_json import Count, FieldError, Measured, Most, Sha256, finite, parse, plain, read


@dataclass(frozen=True)
class Part:
    name: str
    shape: tuple[int | str, ...] = ()


@dataclass(frozen=True)
class Whole:
    """One field of each kind."""

    part: Part
    pair: tuple[int, float]
    count: Count
    error: Measured
    digest: Sha256
    kind: Literal["a", "b"]
    parts: Mapping[str, Part | None] = field(default_factory=dict)
    anything: Any = None
    yes: bool = False


RIGHT: dict[str, Any] = {
    "part": {"name": "y", "shape": ["batch", 10]},
    "pair": [1, 2],
    "count": 0,
    "error": 0.5,
    "digest": "0" * 64,
    "kind": "a",
    "parts": {"x": None, "y": {"name": "z"}},
    "anything": {"a": [1, None, "b"]},
    "yes": True,
}


def test_every_kind_is_read_in_its_type_and_written_back() -> None:
    found = read(Whole, RIGHT)
    assert found.part == Part("y", ("batch", 10))
    assert found.pair == (1, 2.0)
    assert type(found.pair[1]) is float
    assert found.parts == {"x": None, "y": Part("z")}
    written = json.loads(json.dumps(plain(found)))
    assert written == {**RIGHT, "parts": {"x": None, "y": {"name": "z", "shape": []}}}


def test_a_measured_number_that_is_not_finite_is_null_and_read_as_nan() -> None:
    assert finite({"a": [math.inf, -math.inf, math.nan, 1.5]}) == {"a": [None, None, None, 1.5]}
    assert math.isnan(read(Whole, {**RIGHT, "error": None}).error)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("part", [], "expected part to be an object, found a list of 0"),
        (
            "part",
            {"name": "y", "shap": []},
            "expected part.shap to be absent (the fields are name, shape), found a list",
        ),
        ("part", {"name": 1}, "expected part.name to be text, found 1"),
        ("part", {"name": "y", "shape": [True]}, "expected part.shape[0] to be a whole number or text, found true"),
        ("pair", [1, 2, 3], "expected pair to be a list of 2, found a list of 3"),
        ("pair", [1.0, 2], "expected pair[0] to be a whole number, found 1.0"),
        ("count", 2**63, "expected count to be a whole number, found 9223372036854775808"),
        ("error", "x", 'expected error to be a finite number, found "x"'),
        ("digest", "0", 'expected digest to be 64 hexadecimal digits, found "0"'),
        ("kind", "c", 'expected kind to be "a" or "b", found "c"'),
        ("parts", {"a b": 1}, 'expected parts."a b" to be an object or null, found 1'),
        ("anything", [[math.inf]], "expected anything[0][0] to be a finite number, found Infinity"),
        ("yes", 1, "expected yes to be true or false, found 1"),
    ],
)
def test_what_does_not_fit_is_named(name: str, value: Any, expected: str) -> None:
    with pytest.raises(FieldError) as refused:
        read(Whole, {**RIGHT, name: value})
    assert str(refused.value).startswith(expected)


@pytest.mark.parametrize("name", ["part", "pair", "count", "error", "digest", "kind"])
def test_a_field_without_a_default_must_be_there_and_one_with_it_may_be_left_out(name: str) -> None:
    least = {key: RIGHT[key] for key in ("part", "pair", "count", "error", "digest", "kind")}
    assert read(Whole, least).yes is False
    del least[name]
    with pytest.raises(FieldError, match=f"expected {name} to be .*, found nothing"):
        read(Whole, least)


def test_the_schema_takes_and_refuses_the_same() -> None:
    validator = Draft202012Validator(schema_of(Whole))
    assert validator.is_valid(RIGHT)
    wrong = {"part": {"name": 1}, "pair": [1], "count": -1, "error": "x", "digest": "0", "kind": "c", "yes": 1, "no": 0}
    for name, value in wrong.items():
        content = {**RIGHT, name: value}
        assert not validator.is_valid(content), name
        with pytest.raises(FieldError):
            read(Whole, content)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "[" * 60 + "]" * 60, "{"])
def test_what_is_ambiguous_or_endless_is_no_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"twice in one object|nested too deeply|Expecting"):
        parse(text)


def test_what_is_not_finite_is_written_as_null() -> None:
    written = typed_json.dumps({"a": (1.5, math.inf), "b": {"c": -math.inf, "d": math.nan}})
    assert json.loads(written, parse_constant=pytest.fail) == {"a": [1.5, None], "b": {"c": None, "d": None}}


ROOT = Path(__file__).parents[3]
PROGRAMS = ("exporter", "models", "calibration", "deploy_examples", "tests/benchmarks")
IN_SENTENCES = {"exporter/core/typed_json.py"}
"""Where `json.dumps` quotes what was found in a message, NaN too; its own `dumps` is held above."""


def test_nobody_writes_numbers_that_json_does_not_have() -> None:
    """Python's own `json` writes NaN and Infinity unless told not to; no other reader takes them."""
    careless = [
        f"{name}:{call.lineno}"
        for folder in PROGRAMS
        for file in sorted((ROOT / folder).rglob("*.py"))
        if (name := file.relative_to(ROOT).as_posix()) not in IN_SENTENCES
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) in ("json.dump", "json.dumps")
        and not any(given.arg == "allow_nan" for given in call.keywords)
    ]
    assert careless == []


class Needed(TypedDict):
    device: str


class Settings(Needed, total=False):
    threads: Annotated[int, Most(8)]


@pytest.mark.parametrize("right", [{"device": "CPU"}, {"device": "CPU", "threads": 8}])
def test_a_typed_dict_is_read_as_it_is(right: dict[str, Any]) -> None:
    assert read(Settings, right) == right


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "expected s.device to be text, found nothing"),
        ({"device": 3}, "expected s.device to be text, found 3"),
        ({"device": "CPU", "threads": 9}, "expected s.threads to be at most 8, found 9"),
        (
            {"device": "CPU", "cache": "/x"},
            'expected s.cache to be absent (the fields are device, threads), found "/x"',
        ),
        ([], "expected s to be an object, found a list of 0"),
    ],
)
def test_what_a_typed_dict_does_not_say_is_refused(wrong: Any, said: str) -> None:
    with pytest.raises(FieldError) as refused:
        read(Settings, wrong, "s")
    assert str(refused.value) == said
