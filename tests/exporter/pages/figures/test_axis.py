"""Values land where they belong."""

import pytest

from slide_export.pages.figures.axis import INSET, decades, linear


def test_a_linear_axis_ends_at_round_numbers_around_the_values() -> None:
    axis = linear([52.3, 101.7])
    assert axis.ticks == (50.0, 60.0, 70.0, 80.0, 90.0, 100.0, 110.0)


def test_the_middle_is_in_the_middle() -> None:
    assert linear([0.0, 10.0]).at(5.0) == pytest.approx(50.0)


def test_a_logarithmic_axis_gives_equal_ratios_equal_lengths() -> None:
    axis = decades([2e-6, 3e-3])
    assert (axis.low, axis.high) == (1e-6, 1e-2)
    assert axis.at(1e-4) == pytest.approx(50.0)
    assert axis.at(1e-5) - axis.at(1e-6) == pytest.approx(axis.at(1e-2) - axis.at(1e-3), abs=0.02)


def test_what_lies_beyond_stands_at_the_end() -> None:
    axis = linear([0.0, 10.0])
    assert axis.at(99.0) == 100 - INSET
    assert decades([1e-3, 1e-2]).at(0.0) == INSET


@pytest.mark.parametrize("value", [0.0, 7.0, -3.0, 1e-9])
def test_one_value_has_an_axis_too(value: float) -> None:
    axis = linear([value, value])
    assert axis.low < value < axis.high
