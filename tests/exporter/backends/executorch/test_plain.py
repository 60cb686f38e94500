"""A program says what it computes in, and how many images a call takes."""

from pathlib import Path

import pytest

from slide_export.backends.executorch.plain import plain_load


@pytest.mark.parametrize(
    ("fixed", "said"), [(True, "one call takes 8 images"), (False, "one call takes 1 to 8 images")]
)
def test_nothing_has_to_be_set(fixed: bool, said: str) -> None:
    found = plain_load(Path("model.pte"), {"largest": 8, "fixed": fixed}, ("float32",))
    assert (found.same, found.options, found.batch) == (True, {}, said)
