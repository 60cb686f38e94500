"""Accuracy is measured where it is asked for: here, or by several processes where there are images for them."""

from types import SimpleNamespace
from typing import Any

import pytest

from slide_export.core.progress import no_progress
from slide_export.workflows import examine

IMAGES = SimpleNamespace(images=SimpleNamespace(files=[None] * 5))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    calls: list[tuple[str, Any]] = []
    monkeypatch.setattr(examine.evaluate_apart, "processes", lambda _images, jobs: min(jobs, 2))
    monkeypatch.setattr(
        examine.evaluate_apart, "of_export", lambda *given: calls.append(("apart", given[-1])) or "apart"
    )
    monkeypatch.setattr(examine.accuracy, "evaluate", lambda *given: calls.append(("here", given[3])) or "here")
    return calls


def measured(goal: object, evaluation: object, jobs: int) -> tuple[object, list[str]]:
    told: list[str] = []

    def step(what: str) -> Any:
        told.append(what)
        return no_progress(what)

    plan: Any = SimpleNamespace(source=SimpleNamespace(accuracy=goal))
    prepared: Any = SimpleNamespace(evaluation=evaluation, trained_scores=lambda: None, served=None, store=None)
    found = examine._accuracy(plan, prepared, SimpleNamespace(), SimpleNamespace(), step, jobs)  # type: ignore[arg-type]
    return found, told


@pytest.mark.parametrize(("goal", "evaluation"), [(None, IMAGES), ("goal", None), (None, None)])
def test_nothing_is_measured_that_nobody_asked_for(
    goal: object, evaluation: object, asked: list[tuple[str, Any]]
) -> None:
    assert measured(goal, evaluation, 4) == (None, [])
    assert asked == []


def test_one_process_measures_here(asked: list[tuple[str, Any]]) -> None:
    assert measured("goal", IMAGES, 1) == ("here", ["compare accuracy with PyTorch on 5 images"])
    assert asked == [("here", IMAGES)]


def test_as_many_measure_as_there_are_images_for(asked: list[tuple[str, Any]]) -> None:
    assert measured("goal", IMAGES, 8) == ("apart", ["compare accuracy with PyTorch on 5 images in 2 processes"])
    assert asked == [("apart", 2)]
