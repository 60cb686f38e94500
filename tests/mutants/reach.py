"""Which functions each test enters, and how long it takes: coverage contexts of one pytest session.

What a fixture enters belongs to every test that asks for it, whichever of them set it up. Functions rather than lines:
a mutant of one line of a function is worth the tests of the whole.
"""

from __future__ import annotations

import ast
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest

from .deciding import ROOT, SOURCES


class Recorder:
    """A pytest plugin that names the context: a test, or a fixture while it is set up."""

    def __init__(self) -> None:
        include = [f"{ROOT / part}/*" for part in SOURCES]
        self._coverage = coverage.Coverage(data_file=None, config_file=False, include=include)
        self._seconds: dict[str, float] = defaultdict(float)
        self._passed: dict[str, tuple[str, ...]] = {}
        self._contexts: list[str] = []
        self._since = 0.0
        self._on = False

    def start(self) -> None:
        """Record from here on."""
        self._on = True
        self._coverage.start()

    def stop(self) -> None:
        """Record no more."""
        self._on = False
        self._coverage.stop()

    def reach(self) -> dict[str, tuple[float, frozenset[str]]]:
        """Of each test that passed, with its fixtures: its seconds, and `path::scope` of what it enters."""
        entered = _functions(self._coverage.get_data())
        found = {}
        for test, fixtures in self._passed.items():
            parts = (test, *fixtures)
            functions = frozenset[str]().union(*(entered[part] for part in parts))
            found[test] = sum(self._seconds[part] for part in parts), functions
        return found

    def _switch(self, context: str | None) -> None:
        """Charge the time to the context that ends or waits; go into another, or with None back to the one before."""
        if not self._on:
            return
        now = time.process_time()
        if self._contexts:
            self._seconds[self._contexts[-1]] += now - self._since
        self._since = now
        if context is None:
            self._contexts.pop()
        else:
            self._contexts.append(context)
        self._coverage.switch_context(self._contexts[-1] if self._contexts else "")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """One test with its setup and its end."""
        self._switch(item.nodeid)
        try:
            return (yield)
        finally:
            self._switch(None)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        """One fixture; those that it asks for were set up before."""
        self._switch(f"fixture {fixturedef.argname}")
        try:
            return (yield)
        finally:
            self._switch(None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Iterator[None]:
        """Keep a test that passes, with the fixtures that it asked for."""
        report: Any = yield
        if self._on and call.when == "call" and report.passed:
            self._passed[item.nodeid] = tuple(f"fixture {name}" for name in getattr(item, "fixturenames", ()))
        return report  # type: ignore[no-any-return]


def _functions(data: Any) -> dict[str, set[str]]:
    """`path::scope` that each context enters."""
    found: dict[str, set[str]] = defaultdict(set)
    for name in data.measured_files():
        path = Path(name).relative_to(ROOT)
        scopes = scope_of_lines(Path(name).read_text())
        for line, contexts in data.contexts_by_lineno(name).items():
            if line in scopes:
                for context in contexts:
                    found[context].add(f"{path}::{scopes[line]}")
    return found


def scope_of_lines(source: str) -> dict[int, str]:
    """`Class.function` that each line of a function's body is in; the innermost one."""
    scopes: dict[int, str] = {}
    for scope, node in functions(ast.parse(source)):
        scopes.update(dict.fromkeys(range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1), scope))
    return scopes


def functions(tree: ast.AST, scope: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Each function of a file by `Class.function`, outer ones before those in them."""
    for child in ast.iter_child_nodes(tree):
        inner = scope
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{scope}.{child.name}".lstrip(".")
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield inner, child
        yield from functions(child, inner)
