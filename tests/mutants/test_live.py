"""A mutant in a running process changes what the process computes, wherever the changed thing was imported."""

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import acts, live
from .mutate import Mutant, mutants

SOURCE = """
import functools

LIMIT = 0.5
TWICE = 2 * LIMIT


def over(value, by=1.0):
    return value > LIMIT * by


class Bound:
    @property
    def least(self):
        return 0.25


@functools.cache
def cached():
    return 4


def outer():
    def inner():
        return 3
    return inner()
"""
PATH = "exporter/toy.py"


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[types.ModuleType]:
    """The source as `slide_export.toy`, and `slide_export.user` which has imported two of its names."""
    module, user = types.ModuleType("slide_export.toy"), types.ModuleType("slide_export.user")
    exec(compile(SOURCE, PATH, "exec"), vars(module))
    user.LIMIT, user.over = module.LIMIT, module.over  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, user.__name__, user)
    (tmp_path / "exporter").mkdir()
    (tmp_path / PATH).write_text(SOURCE)
    monkeypatch.setattr(acts, "ROOT", tmp_path)
    acts._sources.cache_clear()
    acts._names_by_function.cache_clear()
    yield module
    acts._sources.cache_clear()
    acts._names_by_function.cache_clear()


def put(before: str, after: str) -> Mutant:
    mutant, tree = next(
        (one, tree) for one, tree in mutants(PATH, SOURCE) if (one.before, one.after) == (before, after)
    )
    assert live.put(mutant, tree)
    return mutant


def test_code_is_changed_for_those_who_have_imported_the_function(toy: types.ModuleType) -> None:
    put("value > LIMIT * by", "value >= LIMIT * by")
    assert sys.modules["slide_export.user"].over(0.5)


def test_a_constant_is_changed_where_it_was_imported_and_what_is_made_of_it(toy: types.ModuleType) -> None:
    mutant = put("0.5", "0.625")
    assert (toy.LIMIT, toy.TWICE, sys.modules["slide_export.user"].LIMIT) == (0.625, 1.25, 0.625)  # type: ignore[attr-defined]
    assert acts.names(mutant) == {"LIMIT", "TWICE"}
    assert acts.places(mutant) == {f"{PATH}::", f"{PATH}::over"}


def test_defaults_properties_caches_and_inner_functions_are_reached(toy: types.ModuleType) -> None:
    assert toy.cached() == 4
    for before, after in (("1.0", "1.25"), ("0.25", "0.3125"), ("4", "5"), ("3", "4")):
        put(before, after)
    assert not toy.over(0.6)
    assert (toy.Bound().least, toy.cached(), toy.outer()) == (0.3125, 5, 4)
