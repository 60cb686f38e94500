"""Options as they are written: each kind read, and refused with what was expected, on both sides of its bound."""

from typing import Any

import click
import pytest

from slide_export.cli.options import ImageSize, Names, Numbers, read_pairs, refuse_old_form
from slide_export.core.preprocessing import LARGEST_SIDE


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (ImageSize(), "224", (224, 224)),
        (ImageSize(), "224x320", (224, 320)),
        (ImageSize(), "1", (1, 1)),
        (ImageSize(), f"{LARGEST_SIDE}x1", (LARGEST_SIDE, 1)),
        (Numbers(), "1", (1,)),
        (Numbers(), "8,1,8", (8, 1)),
        (Names(), "onnx, openvino", ("onnx", "openvino")),
        (Names(), "onnx,,", ("onnx",)),
    ],
)
def test_what_is_written_is_read_once(kind: Any, text: str, value: Any) -> None:
    assert kind.convert(text, None, None) == value
    assert kind.convert(value, None, None) is value  # a default, or what was read already


@pytest.mark.parametrize("text", ["0", "224x0", "-1", "224x", "1x2x3", "big", "", "²", "1.5", f"{LARGEST_SIDE + 1}"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=rf"like 224 or 224x320 of at most {LARGEST_SIDE} pixels a side"):
        ImageSize().convert(text, None, None)


@pytest.mark.parametrize("text", ["0", "1,0", "-1", "", "1,", "²", "a", "\x1b[2J"])
def test_numbers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected numbers like 1 or 1,8") as refused:
        Numbers().convert(text, None, None)
    assert refused.value.message.isprintable()


def test_a_pair_has_a_name_and_all_behind_the_first_sign() -> None:
    assert read_pairs(("a=1", "b=", "c=d=e")) == {"a": "1", "b": "", "c": "d=e"}
    assert read_pairs(("a=1", "a=2")) == {"a": "2"}
    with pytest.raises(click.UsageError, match="expected --option NAME=VALUE, found 'b'"):
        read_pairs(("a=1", "b"))
    with pytest.raises(click.UsageError, match="expected --model NAME=VALUE"):
        read_pairs(("b",), "--model NAME=VALUE")


def test_the_old_name_of_form_says_the_new_one() -> None:
    context: Any = None
    refuse_old_form(context, context, None)
    with pytest.raises(click.UsageError, match="--lowering is now --form: give --form taps"):
        refuse_old_form(context, context, "taps")
