"""Questions about a machine, answered in this process."""

import dataclasses
import json
import time
from typing import Any

import pytest

from slide_export.benchmark import environment, surroundings
from slide_export.benchmark.environment import StealTime


def ask(question: str, given: Any = None) -> dict[str, Any]:
    """Returns an answer after its way through JSON."""
    found: dict[str, Any] = json.loads(json.dumps(surroundings.answer({question: given})))
    return found


def test_modules_that_do_not_import_are_missing(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_runtime.py").write_text("raise OSError('libfoo.so.1: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert ask("missing", ["json", "no_such_module", "broken_runtime"]) == {
        "missing": ["no_such_module", "broken_runtime"]
    }


def test_processors_are_those_of_this_process() -> None:
    assert tuple(ask("processors")["processors"]) == environment.usable()


def test_the_fingerprint_is_this_machines() -> None:
    said = ask("fingerprint", {"device": "it", "threads": 1, "targets": ["onnx"]})["environment"]
    here = dataclasses.asdict(environment.fingerprint("it", 1, ["onnx"]))
    for name in ("cpu", "cores", "memory_mib", "versions", "device"):
        assert said[name] == here[name]


def test_theft_is_told_by_another_process_than_the_one_that_began_to_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = dataclasses.asdict(StealTime(0.0, time.monotonic() - 10))
    monkeypatch.setattr(environment, "_stolen_s", lambda: 5.0)
    monkeypatch.setattr(environment.os, "cpu_count", lambda: 1)
    (doubt,) = ask("doubts", watch)["doubts"]
    assert doubt.startswith("the host took 50%")
