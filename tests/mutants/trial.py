"""Mutants against tests: one pytest session collects and runs the tests once, then forks for each mutant."""

from __future__ import annotations

import ast
import functools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from . import acts, live
from .mutate import Mutant
from .reach import Recorder
from .warm import in_child, quiet_pytest

LIMIT_S = 60.0  # processor time of one mutant
SESSION_S = 3600.0
PASSED, FAILED, NOT_PUT = 0, 1, 10
KILLED = frozenset({1, 2, 3, 4})  # pytest's: tests failed, interrupted (a file does not import), internal, usage
Pair = tuple[Mutant, ast.Module]


@dataclass(frozen=True)
class Verdict:
    """Of one mutant: killed, timeout, survived, unreached, or not put; and the tests that reach it."""

    mutant: str
    verdict: str
    tests: tuple[str, ...] = ()


def live_verdicts(files: Sequence[Path], pairs: Sequence[Pair], said: Path, *, own: bool) -> list[Verdict]:
    """Verdicts from tests of some files, each mutant put into a fork of a session that has run them once.

    Args:
        said: the file through which the session tells them.
        own: whether they are the tests of the changed file itself.
    """
    said.unlink(missing_ok=True)
    names = [str(file) for file in files if file.exists()]
    if names:
        in_child(lambda: _session(names, pairs, said, own=own), SESSION_S)
    lines = map(json.loads, said.read_text().splitlines()) if said.exists() else iter(())
    return [Verdict(line["mutant"], line["verdict"], tuple(line["tests"])) for line in lines]


def imported(pair: Pair, tests: Sequence[str]) -> Verdict:
    """The verdict of a process that imports the changed file: slower, and right for every mutant."""
    mutant, tree = pair
    status = in_child(functools.partial(_import_and_run, mutant.path, tree, tests), LIMIT_S)
    return Verdict(mutant.key, _word(status), tuple(tests))


def _import_and_run(path: str, tree: ast.Module, tests: Sequence[str]) -> int:
    live.import_changed(path, tree)
    return quiet_pytest(["-x", *tests])


def _word(status: int | None) -> str:
    if status is None:
        return "timeout"
    if status in KILLED:
        return "killed"
    return {PASSED: "survived", NOT_PUT: "not put"}.get(status, f"crash {status}")


def _session(files: list[str], pairs: Sequence[Pair], said: Path, *, own: bool) -> int:
    recorder = Recorder()
    return quiet_pytest([*files, "-m", "not slow"], [recorder, _Loop(recorder, pairs, said, own=own)])


class _Loop:
    """A pytest plugin in the place of the loop over tests."""

    def __init__(self, recorder: Recorder, pairs: Sequence[Pair], said: Path, *, own: bool) -> None:
        self._recorder, self._pairs, self._said, self._own = recorder, pairs, said, own

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run every test once and record what it enters; then the tests of each mutant in a fork."""
        self._recorder.start()
        _run(session, session.items, lambda: False)
        self._recorder.stop()
        reach = self._recorder.reach()
        sound = self._sound(session, [item for item in session.items if item.nodeid in reach])
        items = sorted(sound, key=lambda item: reach[item.nodeid][0])
        for mutant, tree in self._pairs:
            wanted, left = acts.places(mutant), LIMIT_S
            every = self._own and bool(mutant.names)  # a test of a constant may enter no function at all
            chosen = []
            for item in items:
                seconds, entered = reach[item.nodeid]
                if (every or entered & wanted) and seconds <= left:
                    chosen.append(item)
                    left -= seconds
            self._say(self._verdict(session, mutant, tree, chosen))
        return True

    def _sound(self, session: pytest.Session, items: list[pytest.Item]) -> list[pytest.Item]:
        """Those that pass a second time too, in a fork and without a mutant: the others would tell nothing."""
        session._setupstate.teardown_exact(session)  # type: ignore[arg-type]  # but for what the session shares
        if in_child(lambda: _status(session, items), SESSION_S) == PASSED:
            return items
        return [item for item in items if in_child(functools.partial(_status, session, [item]), LIMIT_S) == PASSED]

    def _verdict(self, session: pytest.Session, mutant: Mutant, tree: ast.Module, items: list[pytest.Item]) -> Verdict:
        tests = tuple(item.nodeid for item in items)
        if not items:
            return Verdict(mutant.key, "unreached")

        def work() -> int:
            """Put the mutant and run its tests."""
            return _status(session, items) if live.put(mutant, tree) else NOT_PUT

        return Verdict(mutant.key, _word(in_child(work, LIMIT_S)), tests)

    def _say(self, verdict: Verdict) -> None:
        with self._said.open("a") as file:
            print(json.dumps(vars(verdict)), file=file)


def _status(session: pytest.Session, items: Sequence[pytest.Item]) -> int:
    session.testsfailed = 0  # of these alone: one may have failed before the fork
    _run(session, items, lambda: bool(session.testsfailed))
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    return FAILED if session.testsfailed else PASSED


def _run(session: pytest.Session, items: Sequence[pytest.Item], done: Callable[[], bool]) -> None:
    """Run tests one after another, leaving what the session shares set up at the end."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        nextitem: Any = following if following is not None else session
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        if done():
            return
