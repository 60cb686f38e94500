"""The readers' common words: fields that are refused, sizes that are told, and which of what is told is a guess."""

from typing import Any

import pytest

from slide_export.models.data import DataConfig
from slide_export.models.family import ShapeError
from slide_export.models.formats.format import (
    UNTOLD,
    Beside,
    Format,
    Told,
    expect,
    handed_on,
    pair,
    refuse_contradicted,
    refuse_field,
    untold_input,
)
from slide_export.models.formats.key_map import Rule

RULES = (Rule("{x}", "{x}"),)


def told(*assumed: str) -> Told:
    return Told({}, DataConfig(), assumed=assumed)


def test_a_guess_is_known_by_how_its_sentence_begins() -> None:
    assert told().guessed == frozenset()
    assert told(untold_input((224, 192), "as published")).guessed == {"image_size"}
    assert told("note", f"{UNTOLD['heads']}: as published").guessed == {"heads"}
    assert told(f"but {UNTOLD['heads']}").guessed == frozenset()


def test_a_guessed_input_names_its_size_and_the_option() -> None:
    sentence = untold_input((224, 192), "as published")
    assert "224x192 assumed, as published" in sentence
    assert sentence.endswith("--input-size names another")


def test_a_key_map_is_data_or_made_of_the_names() -> None:
    read = lambda _state, _beside: told()  # noqa: E731
    assert Format("a", "swin", bool, RULES, read).key_map(["b"]) == RULES
    made = Format("a", "swin", bool, lambda keys: (Rule(next(iter(keys))),), read)
    assert made.key_map(["b"]) == (Rule("b"),)


def test_a_refused_field_is_named_with_its_value_and_place() -> None:
    with pytest.raises(ShapeError, match=r"^depths 'two' in config\.json, where numbers is expected$"):
        refuse_field("config.json", "depths", "two", "numbers")


def test_a_field_is_expected_to_be_missing_or_one_of_those_that_are_modelled() -> None:
    expect("a", {}, {"bias": (True,)})
    expect("a", {"bias": None, "other": 1}, {"bias": (True, None)})
    with pytest.raises(ShapeError, match="bias False in a, where True or None is expected"):
        expect("a", {"bias": False}, {"bias": (True, None)})
    with pytest.raises(ShapeError, match="second 1"):
        expect("a", {"first": 1, "second": 1}, {"first": (1,), "second": (2,)})


@pytest.mark.parametrize(
    ("said", "found"), [({}, 10), ({"n": None}, 10), ({"n": 10}, 10), ({"n": (1, 2)}, [1, 2]), ({"n": [1, 2]}, (1, 2))]
)
def test_what_the_tensors_say_too_is_taken(said: dict[str, Any], found: Any) -> None:
    refuse_contradicted("a", said, {"n": found})


@pytest.mark.parametrize(("said", "found"), [(9, 10), (0, 10), ([1, 2], (1, 3)), ((1,), (1, 2))])
def test_what_the_tensors_say_otherwise_is_refused(said: Any, found: Any) -> None:
    with pytest.raises(ShapeError, match=r"n .* in a, where the tensors have .*: they are of another model"):
        refuse_contradicted("a", {"n": said}, {"n": found})


@pytest.mark.parametrize(
    ("value", "sides"), [(1, (1, 1)), (224, (224, 224)), (224.0, (224, 224)), ([2, 3], (2, 3)), ((2.0, 3), (2, 3))]
)
def test_one_number_or_two_are_rows_and_columns(value: Any, sides: tuple[int, int]) -> None:
    assert pair(value) == sides


@pytest.mark.parametrize("value", [None, "7", "78", [7], [7, 7, 7], 7.5, [7, 7.5], True, [7, True], {"a": 1}])
def test_sides_that_are_no_numbers_are_refused(value: Any) -> None:
    with pytest.raises(ShapeError, match=r"^window .*, where one number or two are expected$"):
        pair(value, "window")


@pytest.mark.parametrize("value", [0, -1, [1, 0], [-7, 7]])
def test_sides_below_one_are_refused(value: Any) -> None:
    with pytest.raises(ShapeError, match=r"^image_size .*, where positive numbers are expected$"):
        pair(value)


def test_nothing_beside_the_weights_is_empty() -> None:
    assert (Beside().config, Beside().writer, Beside().tensor) == ({}, "", None)


def test_stages_that_are_handed_on_are_of_four() -> None:
    assert handed_on("a", "out", [3, 0], "0, 3") == (0, 3)
    assert handed_on("a", "out", [], []) == ()
    for told in ([4], [0, -1]):
        with pytest.raises(ShapeError, match=r"^out 'these' in a, where one of 4 stages is expected$"):
            handed_on("a", "out", told, "these")
