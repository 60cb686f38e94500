"""A recipe is one plain mapping: what can grow, choose a type or go deep is refused, each bound from both sides."""

import pytest
import yaml

from slide_export.calibration.plain_yaml import DEEPEST, LARGEST_TEXT, dump_field, quoted, read_mapping
from slide_export.core.errors import RequestError


def test_a_mapping_of_plain_values() -> None:
    text = "a: 1\nb: [x, 'y']\nc: {d: null, e: true}\nf: 1.5\n"
    assert read_mapping(text, "r.yaml") == {"a": 1, "b": ["x", "y"], "c": {"d": None, "e": True}, "f": 1.5}


@pytest.mark.parametrize("text", ["", "# nothing", "a", "[1, 2]", "3", "null"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"expected a YAML mapping such as `name: value` in r\.yaml, found"):
        read_mapping(text, "r.yaml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &x 1", "found an anchor or an alias"),
        ("a: &x [1]\nb: *x", "found an anchor or an alias"),
        ("a: !!float 1", "found the tag"),
        ("a: !!python/object:os.system x", "found the tag"),
        ("!mine\na: 1", "found the tag"),
        ("a: 2001-99-99", "cannot be read"),
        ("a: [", "cannot be read"),
        ("a: 1\n---\nb: 2", "cannot be read"),
        ("a: " + "9" * 5000, "cannot be read"),
        ("\x00", "cannot be read"),
    ],
)
def test_anchors_tags_and_what_yaml_cannot_read_are_refused(text: str, told: str) -> None:
    with pytest.raises(RequestError, match=told) as refused:
        read_mapping(text, "r.yaml")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


def test_levels_in_one_another_have_a_bound() -> None:
    lists = DEEPEST - 2  # below the mapping itself, and above the number
    assert read_mapping(f"a: {'[' * lists}1{']' * lists}", "r.yaml")
    with pytest.raises(RequestError, match=f"found more than {DEEPEST} levels"):
        read_mapping(f"a: {'[' * (lists + 1)}1{']' * (lists + 1)}", "r.yaml")


def test_letters_have_a_bound() -> None:
    begun = "a: 1 # "
    assert read_mapping(begun + "x" * (LARGEST_TEXT - len(begun)), "r.yaml") == {"a": 1}
    with pytest.raises(RequestError, match=rf"at most {LARGEST_TEXT} letters .*found {LARGEST_TEXT + 1}"):
        read_mapping(begun + "x" * (LARGEST_TEXT - len(begun) + 1), "r.yaml")


def test_a_field_that_stands_twice_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match=r"every field once in r\.yaml, found 'b' 2 times"):
        read_mapping("a: 1\nb: 2\nb: 2\n", "r.yaml")


@pytest.mark.parametrize("value", [1, 1.5, "x", "yes", ["a", "b"], None, {"c": 1}])
def test_a_written_field_is_read_back(value: object) -> None:
    line = dump_field("name", value)
    assert read_mapping(line, "r.yaml") == {"name": value}
    assert not line.endswith("\n")
    assert yaml.safe_load(line) == {"name": value}


def test_a_text_is_quoted_and_a_number_is_not() -> None:
    assert (quoted("5"), quoted(5), quoted("\x1b")) == ("'5'", "5", "'\\x1b'")
