"""What a detector's outputs can be: which there are, what is refused, what is shown of an answer."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError
from slide_export.tasks.detect import LEAST, SHOWN, check, chosen, draw, outputs, picture, rule

STRIDES = (8, 16, 32, 64, 128)


def config(classes: int = 3, strides: tuple[int, ...] = STRIDES, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(num_classes=classes, anchor_strides=strides, palette=(), **more)


def test_outputs_by_what_is_asked_for() -> None:
    assert outputs(ModelIO(output="boxes")) == ("scores", "boxes")
    assert outputs(ModelIO(output="boxes", nms=True)) == ("scores", "boxes", "detections")
    names = outputs(ModelIO(output="raw"))
    assert names == (*(f"logits{n}" for n in (3, 4, 5, 6, 7)), *(f"deltas{n}" for n in (3, 4, 5, 6, 7)))


@pytest.mark.parametrize(
    ("io", "told", "refused"),
    [
        (ModelIO(output="boxes"), config(), ""),
        (ModelIO(output="raw"), config(), ""),
        (ModelIO(output="boxes", nms=True), config(), ""),
        (ModelIO(softmax=True), config(), "a detector without softmax"),
        (ModelIO(labels=("a", "b", "c")), config(), ""),
        (ModelIO(labels=("a", "b")), config(), "expected 3 labels, one a class of the head; found 2"),
        (ModelIO(output="raw", nms=True), config(), "expected nms with boxes, found it with raw outputs"),
        (ModelIO(output="raw"), config(strides=(4, 8, 16, 32, 64)), r"levels of strides \(8, 16, 32, 64, 128\)"),
        (ModelIO(output="boxes"), config(strides=(4, 8, 16, 32, 64)), ""),
    ],
)
def test_what_no_boxes_have_is_refused(io: ModelIO, told: Any, refused: str) -> None:
    if not refused:
        check(io, told)
        return
    with pytest.raises(RequestError, match=refused):
        check(io, told)


def rows(*scores: float) -> np.ndarray:
    """Detections [1, n, 6] of these scores, of class 1, in boxes apart."""
    found = np.zeros((1, len(scores), 6))
    found[0, :, 0] = 20.0 * np.arange(len(scores))
    found[0, :, 2:4] = found[0, :, 0:1] + 10
    found[0, :, 3] = 10
    found[0, :, 4], found[0, :, 5] = scores, 1
    return found


@pytest.mark.parametrize(("score", "count"), [(LEAST, 0), (LEAST + 0.01, 1)])
def test_an_answer_is_shown_above_a_score(score: float, count: int) -> None:
    found = chosen({"detections": rows(score)})
    assert found is not None
    assert len(found.scores) == count
    scores = np.array([[[0.0, score]]])
    plain = chosen({"scores": scores, "boxes": np.array([[[0.0, 0, 10, 10]]])})
    assert plain is not None
    assert len(plain.scores) == count


def test_the_surest_are_drawn_with_their_places() -> None:
    (line, *_) = draw({"detections": rows(0.92)}, ("cat", "person"))
    assert line == "person  92%  at 0,0 to 10,10"
    assert draw({"detections": rows(0.92)}, ("cat",))[0].startswith("class 1  92%")
    assert len(draw({"detections": rows(*[0.9] * (SHOWN + 1))}, ())) == SHOWN
    assert draw({"detections": rows(0.1)}, ()) == ("nothing with a score of 30%",)


def test_raw_outputs_are_counted_and_drawn_as_the_picture() -> None:
    raw = {"logits3": np.zeros((1, 4, 2)), "deltas3": np.zeros((1, 4, 4))}
    assert chosen(raw) is None
    assert draw(raw, ()) == ("24 numbers of 2 outputs, not decoded",)
    shown = np.zeros((4, 4, 3), np.uint8)
    assert picture(raw, (shown,), config()) is shown


def test_a_choice_is_proved_where_it_is_made_inside() -> None:
    assert rule(ModelIO(output="boxes"), config(), (64, 64)) is None
