"""Comparisons of a result, looked up from either side, and the fastest form of a stage."""

import pytest

from slide_export.core.measurement import BenchmarkResult, BenchProtocol, Comparison, Environment, Interval, StageTimes

FASTER = Comparison(2, 0, Interval(0.5, 0.4, 0.8), "faster")
RESULT = BenchmarkResult("", Environment("", ""), BenchProtocol(6, 1), (), (FASTER,))


def test_a_comparison_is_found_as_it_was_made() -> None:
    assert RESULT.comparison(2, 0) == FASTER


def test_a_comparison_from_the_other_side_is_inverted() -> None:
    found = RESULT.comparison(0, 2)
    assert found is not None
    assert (found.a, found.b, found.verdict) == (0, 2, "slower")
    assert (found.ratio.value, found.ratio.low, found.ratio.high) == pytest.approx((2.0, 1.25, 2.5))


def test_what_was_not_compared_has_no_comparison() -> None:
    assert RESULT.comparison(1, 0) is None


def test_the_fastest_form_is_the_one_of_the_smallest_median() -> None:
    assert StageTimes("layers.0", (8, 8, 16), 2, 3, {"taps": 2.0, "gemm": 1.5, "shifts": 3.0}, "it").fastest == "gemm"
