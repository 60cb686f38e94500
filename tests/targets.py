"""Targets as parameters of tests: one whose packages are not here is skipped, and the reason names them."""

from collections.abc import Sequence

import pytest
from _pytest.mark import ParameterSet

from slide_export.backends import optional, registry


def made_here(precisions: Sequence[str]) -> list[ParameterSet]:
    """(target, precision) of all that have it.

    Without targets that are converted in an environment of their own: the tests' cache has none, and those of such a
    target, which install it, take every family themselves.
    """
    return [
        pytest.param(target, precision, marks=missing(target), id=f"{target}-{precision}")
        for target in registry.names()
        if optional.environment(registry.load(target)) is None
        for precision in precisions
        if precision in registry.load(target).PRECISIONS
    ]


def missing(target: str) -> pytest.MarkDecorator:
    """Skip where artifacts of the target cannot be made."""
    here = registry.availability(target)
    return pytest.mark.skipif(not here.ready, reason=f"{target} is not installed: {here.install}")


def batch_of(target: str) -> int | None:
    """The smallest batch of a target that takes fixed ones alone, else a dynamic one."""
    sizes = optional.fixed_batches(registry.load(target))
    return None if sizes is None else sizes[0]
