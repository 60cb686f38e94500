"""Values of configurations are of their field's type, or refused by its name."""

from typing import Any, Literal

import pytest

from slide_export.models.family import ShapeError
from slide_export.models.typed_value import typed


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (3, int, 3),
        (3.0, int, 3),
        (3, float, 3.0),
        ([2, 2.0], tuple[int, ...], (2, 2)),
        ([[1, 2], []], tuple[tuple[int, ...], ...], ((1, 2), ())),
        ((1, 2), tuple[int, int] | None, (1, 2)),
        (None, tuple[int, int] | None, None),
        ("scale", Literal["scale", "keep"], "scale"),
        (True, bool, True),
    ],
)
def test_a_value_of_its_type(value: Any, kind: Any, expected: Any) -> None:
    found = typed(value, kind, "FIELD")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, int),
        (2.5, int),
        (float("inf"), int),
        (float("nan"), float),
        (10**400, float),
        (10**12, int),
        ("3", int),
        (None, int),
        (3, tuple[int, ...]),
        ("ab", tuple[str, ...]),
        ([1], tuple[int, int]),
        ([1, "2"], tuple[int, ...]),
        (1, bool),
        ("other", Literal["scale", "keep"]),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(value: Any, kind: Any) -> None:
    with pytest.raises(ShapeError, match=r"^FIELD .*, where .* (is|are) expected$"):
        typed(value, kind, "FIELD")
