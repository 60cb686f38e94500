"""What counts as a whole number: what `str.isdigit` takes and `int` refuses does not."""

import pytest

from slide_export.core.whole_number import is_number


@pytest.mark.parametrize("text", ["0", "0010", "9" * 18])
def test_digits_are(text: str) -> None:
    assert is_number(text)


@pytest.mark.parametrize("text", ["²", "٣", "", "-1", "1" * 5000, "1.0", " 1"])
def test_anything_else_is_not(text: str) -> None:
    assert not is_number(text)
