"""What a segmenter's outputs can be: which there are, which are classes, what is refused, how a map is drawn."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError
from slide_export.tasks.segment import MOST_CLASSES, SHOWN, check, classes, draw, margins, mask_of, outputs, picture


@pytest.mark.parametrize(
    ("asked", "given", "decided"),
    [("logits", ("logits",), ()), ("resized", ("logits",), ()), ("mask", ("logits", "mask"), ("mask",))],
)
def test_a_mask_stands_beside_the_logits_that_it_is_of(asked: str, given: Any, decided: Any) -> None:
    io = ModelIO(output=asked)
    assert (outputs(io), classes(io)) == (given, decided)
    if asked != "mask":
        assert margins(None, {}, (1, 1), io) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("io", "count", "refused"),
    [
        (ModelIO(), 6, ""),
        (ModelIO(softmax=True), 6, "a segmenter without softmax"),
        (ModelIO(labels=("a", "b")), 2, ""),
        (ModelIO(labels=("a",)), 2, "expected 2 labels, one a class of the head; found 1"),
        (ModelIO(labels=("a",)), 1, ""),
        (ModelIO(labels=("no", "yes")), 1, ""),
        (ModelIO(labels=("a", "b", "c")), 1, "expected 1 labels"),
        (ModelIO(output="mask"), MOST_CLASSES, ""),
        (ModelIO(output="mask"), MOST_CLASSES + 1, "at most 256 classes for a mask of bytes, found 257"),
        (ModelIO(output="logits"), MOST_CLASSES + 1, ""),
    ],
)
def test_what_no_map_of_classes_has_is_refused(io: ModelIO, count: int, refused: str) -> None:
    told = SimpleNamespace(num_classes=count)
    if not refused:
        check(io, told)
        return
    with pytest.raises(RequestError, match=refused):
        check(io, told)


def test_classes_are_the_largest_logits_or_the_mask_itself() -> None:
    logits = np.zeros((1, 3, 1, 2))
    logits[0, 2, 0, 0] = logits[0, 1, 0, 1] = 1.0
    assert mask_of({"logits": logits}).tolist() == [[2, 1]]
    assert mask_of({"logits": logits, "mask": np.array([[[7, 8]]])}).tolist() == [[7, 8]]
    assert mask_of({"logits": np.array([[[[0.0, 1e-9, -1.0]]]])}).tolist() == [[0, 1, 0]]  # a single class: above 0


def test_the_classes_that_cover_most_are_drawn_first() -> None:
    mask = np.array([[[0] * 6 + [2] * 3 + [1]]])
    assert draw({"mask": mask}, ("road", "car")) == ("road      60.00%", "class 2   30.00%", "car       10.00%")
    every = np.arange(SHOWN + 1)[None, None]
    assert len(draw({"mask": every}, ())) == SHOWN


def test_a_picture_stands_beside_itself_under_its_colours() -> None:
    shown = np.full((2, 3, 3), 100, np.uint8)
    mask = np.zeros((1, 2, 3), np.uint8)
    mask[0, 0] = 1
    drawn = picture({"mask": mask}, (shown,), SimpleNamespace(palette=((0, 0, 0), (255, 0, 0))))
    assert drawn.shape == (2, 6, 3)
    assert np.array_equal(drawn[:, :3], shown)
    assert drawn[0, 3, 0] > drawn[0, 3, 1]  # class 1 is red
    assert len(np.unique(drawn[1, 3:])) == 1
