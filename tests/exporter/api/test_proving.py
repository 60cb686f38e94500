"""What no proof can be asked for is refused before anything is opened."""

from pathlib import Path
from typing import Any

import pytest

from slide_export.api import proving
from slide_export.core.errors import RequestError

NOWHERE = Path("nowhere")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"evaluation": NOWHERE}, "expected against with evaluation"),
        ({"evaluation": NOWHERE, "against": NOWHERE, "device": "ssh://board"}, "expected evaluation without device"),
        ({"max_drop": 1.0}, "expected evaluation images"),
        ({"jobs": 0}, "jobs"),
    ],
)
def test_demands_that_contradict_each_other(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        proving.verify_all([NOWHERE], **options)


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan")])
def test_a_proof_has_some_time(timeout_s: float) -> None:
    with pytest.raises(RequestError, match="expected a time limit above 0 seconds"):
        proving.verify(NOWHERE, timeout_s=timeout_s)


def test_nothing_is_kept_where_nothing_is_copied() -> None:
    with pytest.raises(RequestError, match="expected device with keep: here nothing is copied anywhere"):
        proving.verify(NOWHERE, keep=True)


def test_an_accuracy_is_of_images() -> None:
    with pytest.raises(RequestError, match="expected evaluation images, found None"):
        proving.measure_accuracy(NOWHERE, NOWHERE, None)  # type: ignore[arg-type]


def test_a_recipes_decibels_are_asked_of_the_proof_without_images_and_of_them_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from slide_export.verification import batch, find

    asked: list[Any] = []
    monkeypatch.setattr(find, "find", list)
    monkeypatch.setattr(batch, "prove_each", lambda _found, demand, _step: asked.append(demand) or ())
    proving.verify_all([tmp_path], min_sqnr_db=20.0)
    proving.verify_all([tmp_path], tmp_path, tmp_path, min_sqnr_db=20.0)
    alone, beside = asked
    assert (alone.least_db, alone.goal) == (20.0, None)
    assert (beside.least_db, beside.goal.min_sqnr_db) == (None, 20.0)
