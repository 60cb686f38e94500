"""The ranking and the fewest layers, on costs that are known."""

import math
from collections.abc import Sequence

import pytest

from slide_export.calibration.sensitivity import fewest, rank

NOISE = {"a": 1.0, "b": 100.0, "c": 10.0, "d": 0.1}


def decibel(keep: Sequence[str]) -> float:
    return -sum(value for layer, value in NOISE.items() if layer not in keep)


def test_layers_are_ranked_by_what_each_costs_alone() -> None:
    found = rank(tuple(NOISE), decibel)
    assert [(one.module, one.sqnr_db) for one in found] == [("b", -100.0), ("c", -10.0), ("a", -1.0), ("d", -0.1)]


def test_an_overflow_is_the_most_sensitive() -> None:
    cost = {"a": 20.0, "b": math.nan, "c": 10.0}
    found = rank(tuple(cost), lambda keep: next(value for layer, value in cost.items() if layer not in keep))
    assert [one.module for one in found] == ["b", "c", "a"]


@pytest.mark.parametrize("needed", range(21))
def test_the_fewest_are_found_in_few_tries(needed: int) -> None:
    ranking, tried = [f"layer{index}" for index in range(20)], []

    def reaches(keep: Sequence[str]) -> bool:
        tried.append(len(keep))
        return len(keep) >= needed

    assert fewest(ranking, reaches) == tuple(ranking[:needed])
    assert len(tried) <= 11
    assert len(tried) == len(set(tried))


def test_a_goal_out_of_reach_is_none() -> None:
    assert fewest(["a", "b", "c"], lambda _: False) is None
    assert fewest([], lambda _: False) is None
