"""Values that a user writes of a model: read, refused, shown as they were written, set in a configuration."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from slide_export.models.model_value import IMAGE_SIZE, YES_OR_NO, ModelValue, numbers, one_of, trained_size


@dataclass(frozen=True)
class Config:
    image_size: tuple[int, int] = (64, 64)
    heads: tuple[int, ...] = (1, 2)
    window: int = 4

    def at(self, image_size: tuple[int, int]) -> "Config":
        return replace(self, image_size=image_size, window=self.window * image_size[0] // self.image_size[0])


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (IMAGE_SIZE, "224x320", (224, 320)),
        (IMAGE_SIZE, "1x1", (1, 1)),
        (numbers("2,4"), "2,4,8", (2, 4, 8)),
        (numbers("2,4"), "0", (0,)),
        (numbers("1,2/1,3", apart="/"), "1,2/1,3", ((1, 2), (1, 3))),
        (YES_OR_NO, "yes", True),
        (YES_OR_NO, "no", False),
    ],
)
def test_what_is_shown_is_what_is_read(kind: Any, text: str, value: Any) -> None:
    assert kind.read(text) == value
    assert kind.show(value) == text


def test_one_number_is_both_sides() -> None:
    assert IMAGE_SIZE.read("224") == IMAGE_SIZE.read("224x") == (224, 224)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (IMAGE_SIZE, "0"),
        (IMAGE_SIZE, "224x0"),
        (IMAGE_SIZE, "-1"),
        (IMAGE_SIZE, "big"),
        (IMAGE_SIZE, ""),
        (numbers("2,4"), "2,-1"),
        (numbers("2,4"), "2,,4"),
        (numbers("2,4"), "2.5"),
        (numbers("1/2", apart="/"), "1/-2"),
        (YES_OR_NO, "maybe"),
        (YES_OR_NO, "Yes"),
    ],
)
def test_what_is_no_value_is_refused(kind: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        kind.read(text)


def test_a_value_that_no_word_stands_for_is_shown_as_python_does() -> None:
    value = ModelValue("mode", one_of({"a": 1}), "help", "default")
    assert (value.shown(1), value.shown(7)) == ("a", "7")
    assert ModelValue("heads", numbers("1"), "help", "default").shown(3) == "3"
    assert ModelValue("size", IMAGE_SIZE, "help", "default").shown((5,)) == "(5,)"


def test_a_value_sets_its_field_or_what_apply_makes() -> None:
    plain = ModelValue("heads", numbers("1"), "help", "default")
    assert plain.applied(Config(), (3,)) == Config(heads=(3,))
    named = ModelValue("tokens", numbers("1"), "help", "default", field="heads")
    assert (named.field_name, named.of(Config())) == ("heads", (1, 2))
    assert named.applied(Config(), (3,)).heads == (3,)


@pytest.mark.parametrize(("resizes", "window"), [(True, 8), (False, 4)])
def test_windows_grow_with_the_trained_size_where_no_shape_tells_them(resizes: bool, window: int) -> None:
    size = trained_size("224, the usual", resizes=resizes)
    found = size.applied(Config(), (128, 128))
    assert (found.image_size, found.window) == ((128, 128), window)
    same = Config()
    assert size.applied(same, (64, 64)) == same


def test_nothing_is_told_or_refused_unless_a_family_says_how() -> None:
    value = ModelValue("heads", numbers("1"), "help", "default")
    assert value.told({}) is None
    value.check({}, (3,))
    assert (value.needed, value.assumed) == (False, True)
