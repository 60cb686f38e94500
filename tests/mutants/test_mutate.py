"""Every constant, comparison and default of a file is changed once, at its place, and nothing else is."""

import ast

import pytest

from .__main__ import equivalents
from .deciding import DECIDING, ROOT
from .mutate import mutants

SOURCE = '''
"""A docstring of 7 words."""

LIMIT = 0.5


@dataclass(frozen=True)
class Bound:
    share: float = 0.95

    def holds(self, found: float, *, strict: bool = True) -> bool:
        """Whether 3 is 3."""
        return found >= self.share and not (strict and found == 1)


def picked(pairs, names=("a",)):
    most = 2
    if any(pairs):
        raise ValueError(f"{1}")
    return zip(pairs, names, strict=True)
'''


def found(kind: str) -> set[tuple[str, str, str]]:
    return {(one.scope, one.before, one.after) for one, _ in mutants("f.py", SOURCE) if one.kind == kind}


def test_constants_are_moved_to_both_sides_where_they_are_no_whole_numbers() -> None:
    assert found("constant") == {
        ("", "0.5", "0.625"),
        ("", "0.5", "0.4"),
        ("Bound", "0.95", "1.1875"),
        ("Bound", "0.95", "0.76"),
        ("Bound.holds", "1", "2"),
        ("picked", "2", "3"),
    }


def test_comparisons_are_moved_by_their_edge() -> None:
    assert found("comparison") == {
        ("Bound.holds", "found >= self.share", "found > self.share"),
        ("Bound.holds", "found == 1", "found != 1"),
    }


def test_defaults_belong_to_their_function() -> None:
    assert found("default") == {("Bound.holds", "True", "False"), ("picked", "'a'", "'a_'")}


def test_the_rest_is_operators_calls_and_refusals() -> None:
    assert ("picked", "any(pairs)", "all(pairs)") in found("other")
    assert ("picked", "raise ValueError(f'{1}')", "pass") in found("other")
    assert ("Bound.holds", "not (strict and found == 1)", "strict and found == 1") in found("other")


def test_a_tree_differs_from_its_source_in_the_mutant_alone() -> None:
    before = ast.unparse(ast.parse(SOURCE))
    for mutant, tree in mutants("f.py", SOURCE):
        after = ast.unparse(ast.fix_missing_locations(tree))
        assert after != before, mutant.key
        compile(tree, "f.py", "exec")
    assert ast.unparse(ast.parse(SOURCE)) == before


def test_the_rest_of_a_shape_is_left_alone() -> None:
    changes = {(one.before, one.after) for one, _ in mutants("f.py", "def f(x):\n    return x.reshape(2, -1) - 1\n")}
    assert changes == {("2", "3"), ("1", "2"), ("x.reshape(2, -1) - 1", "x.reshape(2, -1) + 1")}


def test_what_runs_at_import_says_which_names_it_binds() -> None:
    names = {one.before: one.names for one, _ in mutants("f.py", SOURCE) if one.kind == "constant"}
    assert names == {"0.5": ("LIMIT",), "0.95": ("Bound", "share"), "1": (), "2": ()}


def test_keys_tell_mutants_apart_and_stay_when_lines_move() -> None:
    keys = [one.key for one, _ in mutants("f.py", "a = 1\nb = 1 + 1\n")]
    assert len(set(keys)) == len(keys)
    moved = [one.key for one, _ in mutants("f.py", "# a comment\n\na = 1\n\nb = 1 + 1\n")]
    assert moved == keys


@pytest.mark.parametrize("value", ["8", "9"])
def test_large_whole_numbers_are_moved_far_too(value: str) -> None:
    changes = {one.after for one, _ in mutants("f.py", f"MOST = {value}\n")}
    assert changes == ({"9"} if value == "8" else {"10", "11"})


def test_the_mutants_that_are_left_out_exist() -> None:
    keys = {one.key for path in DECIDING for one, _ in mutants(path, (ROOT / path).read_text())}
    assert equivalents() <= keys
