"""The engine that runs jobs where it is called: in order, all that wait, and none that was stopped."""

import json

import pytest

from slide_export.fleet import work
from slide_export.fleet.engine import InlineEngine
from slide_export.fleet.job import Submission


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> InlineEngine:
    monkeypatch.setattr(work, "run", lambda order: json.dumps({"ran": order}))
    return InlineEngine(in_flight=7)


def submitted(*keys: str) -> list[Submission]:
    return [Submission(number, key, "{}", f"order of {key}") for number, key in enumerate(keys, 10)]


def test_what_waits_is_run_in_order_and_told_once(engine: InlineEngine) -> None:
    engine.submit(submitted("a", "b"))
    engine.submit(submitted("c"))
    found = engine.next_batch(0.0)
    assert [(one.number, one.key, one.answer) for one in found] == [
        (10, "a", {"ran": "order of a"}),
        (11, "b", {"ran": "order of b"}),
        (10, "c", {"ran": "order of c"}),
    ]
    assert engine.next_batch(0.0) == []


def test_what_was_stopped_is_not_run(engine: InlineEngine) -> None:
    engine.submit(submitted("a", "b", "c"))
    engine.stop({"b", "unknown"})
    assert [one.key for one in engine.next_batch(0.0)] == ["a", "c"]


def test_it_takes_any_class_here(engine: InlineEngine) -> None:
    found = engine.capacity(["{}", '{"gpu":1}'])
    assert (found.total, found.by_class) == (7, {"{}": 7, '{"gpu":1}': 7})
    assert set(found.able.values()) == {frozenset({work.own_name()})}


def test_what_waits_at_its_end_is_forgotten(engine: InlineEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(work, "close", lambda: closed.append(True))
    engine.submit(submitted("a"))
    engine.close()
    assert (engine.next_batch(0.0), closed) == ([], [True])
