"""The task classify_views: which files make a pair, and how one logit and several are answers."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError
from slide_export.tasks import CLASSIFY, CLASSIFY_VIEWS


@pytest.mark.parametrize(
    ("file", "second"),
    [
        ("CC/1.png", "MLO/1.png"),
        ("set/malignant/CC/1.png", "set/malignant/MLO/1.png"),
        ("CC/malignant/1.png", "MLO/malignant/1.png"),
        ("CC/CC/1.png", "CC/MLO/1.png"),
    ],
)
def test_a_pair_has_equal_names(file: str, second: str) -> None:
    assert CLASSIFY_VIEWS.sample(Path(file)) == (Path(file), Path(second))


@pytest.mark.parametrize("file", ["MLO/1.png", "1.png", "views/CC.png"])
def test_what_is_no_first_view_is_no_sample(file: str) -> None:
    assert CLASSIFY_VIEWS.sample(Path(file)) == ()


def test_a_softmax_is_refused() -> None:
    with pytest.raises(RequestError, match="its models end in sigmoids"):
        CLASSIFY_VIEWS.check(ModelIO(softmax=True), SimpleNamespace(num_classes=2))


@pytest.mark.parametrize(("classes", "labels"), [(1, ("benign", "malignant")), (3, ("a", "b", "c"))])
def test_labels_are_one_an_answer(classes: int, labels: tuple[str, ...]) -> None:
    config = SimpleNamespace(num_classes=classes)
    CLASSIFY_VIEWS.check(ModelIO(labels=labels), config)
    with pytest.raises(RequestError, match=f"expected {len(labels)} labels"):
        CLASSIFY_VIEWS.check(ModelIO(labels=labels[1:]), config)


@pytest.mark.parametrize("task", [CLASSIFY, CLASSIFY_VIEWS], ids=lambda task: task.name)
def test_a_single_logit_has_two_answers(task: object) -> None:
    logit = np.array([[np.log(3.0)]])
    assert task.draw({"logits": logit}, ("benign", "malignant")) == (  # type: ignore[attr-defined]
        "malignant   75.00%",
        "benign      25.00%",
    )


def test_each_of_several_logits_has_a_sigmoid() -> None:
    drawn = CLASSIFY_VIEWS.draw({"logits": np.array([[0.0, np.log(3.0)]])}, ())
    assert drawn == ("class 1   75.00%", "class 0   50.00%")
