"""What a classifier's outputs can be, and how an answer is drawn: numbers by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError
from slide_export.tasks.classify import SHOWN, above_0, check, draw, likeliest, outputs, run


def config(classes: int = 10, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(num_classes=classes, **more)


@pytest.mark.parametrize(("softmax", "name"), [(False, "logits"), (True, "probabilities")])
def test_the_output_is_called_by_what_it_is(softmax: bool, name: str) -> None:
    io, scores = ModelIO(softmax=softmax), torch.tensor([[0.0, float(np.log(3.0))]])
    assert outputs(io) == (name,)
    (found,) = run(nn.Identity(), (scores,), io)
    assert torch.allclose(found, torch.tensor([[0.25, 0.75]]) if softmax else scores)


@pytest.mark.parametrize(
    ("io", "told", "refused"),
    [
        (ModelIO(), config(), ""),
        (ModelIO(softmax=True), config(2), ""),
        (ModelIO(softmax=True), config(1), "expected two classes or more for softmax, found 1"),
        (ModelIO(), config(1), ""),
        (ModelIO(), config(has_logits=False), "a backbone that gives maps and no logits"),
        (ModelIO(labels=("a", "b")), config(2), ""),
        (ModelIO(labels=("a",)), config(2), "expected 2 labels, one a class of the head; found 1"),
        (ModelIO(labels=("a", "b", "c")), config(2), "expected 2 labels, one a class of the head; found 3"),
    ],
)
def test_what_no_classifier_gives_is_refused(io: ModelIO, told: Any, refused: str) -> None:
    if not refused:
        check(io, told)
        return
    with pytest.raises(RequestError, match=refused):
        check(io, told)


def test_the_likeliest_classes_are_drawn_best_first() -> None:
    logits = np.log(np.array([[0.1, 0.6, 0.3]]))
    assert draw({"logits": logits}, ("a", "bb", "c")) == ("bb   60.00%", "c    30.00%", "a    10.00%")
    assert draw({"probabilities": np.array([[0.1, 0.9]])}, ()) == ("class 1   90.00%", "class 0   10.00%")


def test_so_many_classes_are_drawn() -> None:
    assert len(likeliest(np.full(SHOWN + 1, 0.1), ())) == SHOWN
    assert len(likeliest(np.full(SHOWN - 1, 0.1), ())) == SHOWN - 1


def test_a_single_logit_has_two_answers() -> None:
    score = float(np.log(3.0))
    assert above_0(np.array([score])) == pytest.approx([0.25, 0.75])
    assert draw({"logits": np.array([[score]])}, ("no", "yes")) == ("yes   75.00%", "no    25.00%")


def test_scores_beyond_any_exponential_are_drawn() -> None:
    assert draw({"logits": np.array([[5000.0, 4000.0]])}, ())[0] == "class 0  100.00%"
