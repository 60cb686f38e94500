"""A float16 asset says of every load that it was not proved; any other says what it is."""

from pathlib import Path

import pytest

from slide_export.backends.coreai.plain import plain_load


@pytest.mark.parametrize(
    ("proved", "same"), [(("float32",), True), (("float16",), False), (("float16", "float32"), False), ((), True)]
)
def test_float16_is_not_proved_here(proved: tuple[str, ...], same: bool) -> None:
    found = plain_load(Path("model.aimodel"), {"batch": None}, proved)
    assert (found.same, "NOT proved here" in found.sentence) == (same, not same)
    assert found.batch == "one call takes any number of images"


def test_a_fixed_batch_is_said() -> None:
    assert plain_load(Path("model.aimodel"), {"batch": 4}, ()).batch == "one call takes 4 images"
