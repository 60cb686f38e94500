"""What the verbs on a checkpoint hand to its loader."""

from pathlib import Path
from typing import Any

import pytest

from slide_export.api import checkpoints
from slide_export.checkpoint import load
from slide_export.core.errors import RequestError

NOTHING = {
    "variant": None,
    "weights": "raw",
    "input_size": None,
    "weights_key": None,
    "values": {},
    "preprocessing": {},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    calls: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(load, "load_checkpoint", lambda path, **options: calls.append((path, options)))
    monkeypatch.setattr("slide_export.checkpoint.inspect.inspect_model", lambda model: model)
    return calls


def test_a_checkpoint_is_inspected_without_its_head_and_loaded_with_it(asked: list[tuple[Any, dict[str, Any]]]) -> None:
    checkpoints.inspect("a.pth")
    checkpoints.load_checkpoint("a.pth")
    assert asked == [("a.pth", {**NOTHING, "headless": True}), ("a.pth", {**NOTHING, "features": False})]


@pytest.mark.parametrize("verb", [checkpoints.inspect, checkpoints.load_checkpoint])
def test_all_that_is_said_reaches_the_loader(verb: Any, asked: list[tuple[Any, dict[str, Any]]]) -> None:
    said = {
        "variant": "swin_tiny",
        "weights": "ema",
        "input_size": (64, 32),
        "weights_key": "net",
        "values": {"a": "1"},
    }
    verb(Path("a.pth"), **said, mean=(0.5, 0.5, 0.5), crop=None)
    ((path, options),) = asked
    assert path == Path("a.pth")
    assert {name: options[name] for name in said} == said
    assert list(options["preprocessing"]) == ["mean"]


@pytest.mark.parametrize("verb", [checkpoints.inspect, checkpoints.load_checkpoint])
def test_preprocessing_that_is_none_is_refused_before_the_file_is_read(
    verb: Any, asked: list[tuple[Any, dict[str, Any]]]
) -> None:
    with pytest.raises(RequestError, match="std"):
        verb("a.pth", std=(1.0, 2.0))
    assert asked == []


def test_the_zoo_is_of_a_family_or_of_all() -> None:
    every = checkpoints.variants()
    swin = checkpoints.variants("swin")
    assert 0 < len(swin) < len(every)
    assert swin == tuple(entry for entry in every if entry.family == "swin")
    with pytest.raises(RequestError, match="swim"):
        checkpoints.variants("swim")
