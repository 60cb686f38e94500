"""Which modules sort by what they compute, and what lies in one."""

import pytest

from slide_export.core.graph import MAX_RANK, inside, sorting_modules


def test_the_module_around_its_rounds_sorts_once() -> None:
    scopes = ["a.sort.rounds.0", "a.sort.rounds.1", "a", "b.rounds.12", "a.sort.rounds.0"]
    assert sorting_modules(scopes) == ("a.sort", "b")


@pytest.mark.parametrize("scope", ["a", "", "rounds.0", "a.rounds", "a.rounds.x", "a.rounds.0.b", "a.grounds.0"])
def test_an_operation_that_sorts_outside_of_rounds_is_none(scope: str) -> None:
    assert sorting_modules([scope]) == ()


@pytest.mark.parametrize(
    ("scope", "within"), [("a.b", True), ("a.b.c", True), ("a.bc", False), ("a", False), ("x.a.b", False), ("", False)]
)
def test_a_scope_is_in_a_module_by_whole_names(scope: str, within: bool) -> None:
    assert inside(scope, ("q", "a.b")) == within
    assert not inside(scope, ())


def test_no_target_takes_more_axes_than_coreml() -> None:
    assert MAX_RANK == 5  # coremltools#1723
