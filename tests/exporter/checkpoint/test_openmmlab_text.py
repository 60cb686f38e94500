"""OpenMMLab's configuration is read as values, never run: what is computed is left out, or refused where it counts."""

from typing import Any

import pytest

from slide_export.checkpoint.openmmlab_text import LONGEST, NEEDED, read_config_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a = 1", 1),
        ("a = -1.5", -1.5),
        ("a = 'x'", "x"),
        ("a = None", None),
        ("a = True", True),
        ("a = (1, [2, -3])", [1, [2, -3]]),
        ("a = {'b': 1, 2: 'c'}", {"b": 1, 2: "c"}),
        ("a = dict(b=dict(c=1), d=[dict(e=2)])", {"b": {"c": 1}, "d": [{"e": 2}]}),
        ("b = [1, 2]\na = dict(c=b)", {"c": [1, 2]}),
    ],
)
def test_plain_values_are_taken(text: str, value: Any) -> None:
    assert read_config_text(text)["a"] == value


@pytest.mark.parametrize(
    "computed",
    [
        "f(1)",
        "1 + 1",
        "-'x'",
        "+1",
        "dict([(1, 2)])",
        "dict(**b)['x']",
        "[n for n in b]",
        "unknown",
        "b[0]",
        "{**b}",
        "{(1, 2): 3}",
        "{dict(): 1}",
        "__import__('os').system('true')",
        "f'{b}'",
        "lambda: 1",
    ],
)
def test_what_is_computed_is_left_out_or_refused_where_it_is_needed(computed: str) -> None:
    assert read_config_text(f"a = {computed}\nc = 1") == {"c": 1}
    for name in NEEDED:
        with pytest.raises(ValueError, match=f"{name} that is computed"):
            read_config_text(f"{name} = {computed}")


@pytest.mark.parametrize(
    "statement", ["a = b = 1", "a.b = 1", "a, b = 1, 2", "a += 1", "import os", "a: int = 1", "f()"]
)
def test_only_an_assignment_of_one_name_is_read(statement: str) -> None:
    assert read_config_text(f"a0 = 1\n{statement}".replace("a += 1", "a0 += 1")) == {"a0": 1}


def test_a_later_assignment_replaces_an_earlier_one() -> None:
    assert read_config_text("a = 1\nb = [a]\na = 2") == {"a": 2, "b": [1]}


@pytest.mark.parametrize("text", ["a = (", "a = '\0'", "model = dict(\n", "a = " + "(" * 1000 + ")" * 1000])
def test_what_is_no_python_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="no Python"):
        read_config_text(text)


def test_a_text_that_no_configuration_is_as_long_as_is_not_parsed() -> None:
    line = "a = 1\n"
    longest = line + "#" * (LONGEST - len(line))
    assert read_config_text(longest) == {"a": 1}
    with pytest.raises(ValueError, match=f"{LONGEST + 1} characters"):
        read_config_text(longest + "#")


def test_a_value_nested_deeper_than_python_follows_is_left_out() -> None:
    deep = "a = " + "-" * 300 + "1"
    assert read_config_text(f"{deep}\nb = 1") == {"b": 1}  # each minus is of a value, not of a number
