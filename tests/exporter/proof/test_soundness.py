"""A model that answers nothing, or the same to every image, is refused by the module from which it does."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from slide_export.calibration.images import bundled
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import CheckpointError
from slide_export.core.model import Model
from slide_export.core.proof import Reference
from slide_export.inference.served import ServedModel, serve
from slide_export.proof import soundness
from slide_export.proof.first_loss import Call
from slide_export.proof.reference import subset
from slide_export.proof.soundness import refuse_unsound
from tests.conftest import reference_of

PLAIN, IMAGES = ModelIO(), bundled().spread(3)


def planted(model: Model, name: str, factor: float) -> tuple[ServedModel, Reference]:
    module = copy.deepcopy(model.module)
    with torch.no_grad():
        module.get_parameter(name).mul_(factor)
    changed = replace(model, module=module)
    return serve(changed, PLAIN), reference_of(changed, IMAGES, PLAIN)


def test_a_sound_model_passes(model: Model) -> None:
    refuse_unsound(serve(model, PLAIN), reference_of(model, IMAGES, PLAIN))


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_weights_that_the_type_does_not_hold_are_named(model: Model) -> None:
    with pytest.raises(CheckpointError, match=r"found head\.weight not so in float32"):
        refuse_unsound(*planted(model, "head.weight", 1e300))


@pytest.mark.parametrize(("name", "module"), [("head.weight", "head"), ("norm.weight", "norm")])
def test_the_same_answer_to_every_image_is_refused(name: str, module: str, model: Model) -> None:
    with pytest.raises(CheckpointError, match=f"found the same for all 3 from {module} on"):
        refuse_unsound(*planted(model, name, 0.0))


def test_one_image_and_copies_of_one_say_nothing_of_that(model: Model) -> None:
    served, truth = planted(model, "head.weight", 0.0)
    copies = {name: np.repeat(value[:1], 3, axis=0) for name, value in truth.feeds.items()}
    refuse_unsound(served, replace(truth, feeds=copies))
    alone = {"images": truth.images[:1], "feeds": {name: value[:1] for name, value in truth.feeds.items()}}
    refuse_unsound(served, replace(truth, **alone, exact={"logits": truth.exact["logits"][:1]}))


def test_classes_that_share_one_score_are_refused(model: Model) -> None:
    served, truth = serve(model, PLAIN), reference_of(model, IMAGES, PLAIN)
    flat = {"logits": np.repeat(truth.exact["logits"][:, :1], 10, axis=1)}
    with pytest.raises(CheckpointError, match="tell 10 classes apart"):
        refuse_unsound(served, replace(truth, exact=flat))


def test_outputs_that_are_no_numbers_are_refused_by_module(model: Model) -> None:
    """In float64 too: a LayerNorm whose eps is minus the variance, say."""
    module = copy.deepcopy(model.module)
    module.get_submodule("norm").eps = -1e6
    changed = replace(model, module=module)
    with pytest.raises(CheckpointError, match="found others from norm on, in float64 too"):
        refuse_unsound(serve(changed, PLAIN), reference_of(changed, IMAGES, PLAIN))


UNIT = float(np.finfo(np.float64).eps)


@pytest.mark.parametrize(("units", "same"), [(16, True), (17, False)])
def test_outputs_are_the_same_up_to_sixteen_units_of_float64(units: int, same: bool) -> None:
    """What another order of a sum may change, and no more."""
    assert soundness._same_for_all(np.array([[1.0 - units * UNIT], [1.0]])) is same
    assert soundness._same_for_all(np.array([[4.0 - 4 * units * UNIT], [4.0]])) is same


def test_weights_whose_sum_is_beyond_the_type_are_finite(model: Model) -> None:
    served = serve(model, PLAIN)
    truth = reference_of(model, IMAGES, PLAIN)
    module = copy.deepcopy(served.module)
    with torch.no_grad():
        next(module.parameters()).fill_(3e38)  # float32's largest is 3.4e38
    refuse_unsound(replace(served, module=module), truth)


def test_images_vary_where_one_input_does() -> None:
    varied, same = np.array([[1.0], [2.0]]), np.ones((2, 1))
    assert soundness._varied({"a": same, "b": varied})
    assert not soundness._varied({"a": same, "b": same})


@pytest.mark.parametrize(("units", "same"), [(16, True), (17, False)])
def test_features_are_equal_by_the_same_measure(units: int, same: bool) -> None:
    ones, others = torch.ones(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    others[1] -= units * UNIT
    assert soundness._equal((ones,), (others,)) is same


def test_scores_are_apart_by_the_same_measure(model: Model) -> None:
    """Two classes around 1, each half the difference from their mean."""
    served, truth = serve(model, PLAIN), reference_of(model, IMAGES, PLAIN)
    apart = {
        units: {"logits": np.tile([1.0, 1.0 - 2 * units * UNIT], (3, 1)) * np.array([[1.0], [0.5], [0.25]])}
        for units in (16, 17)
    }
    refuse_unsound(served, replace(truth, exact=apart[17]))
    with pytest.raises(CheckpointError, match="tell 2 classes apart"):
        refuse_unsound(served, replace(truth, exact=apart[16]))


def test_two_images_are_enough_to_tell(model: Model) -> None:
    served, truth = planted(model, "head.weight", 0.0)
    two = subset(truth, 2)
    with pytest.raises(CheckpointError, match="found the same for all 2 from head on"):
        refuse_unsound(served, two)


def test_one_score_of_zero_is_an_answer(model: Model) -> None:
    served, truth = serve(model, PLAIN), subset(reference_of(model, IMAGES, PLAIN), 1)
    refuse_unsound(served, replace(truth, exact={"logits": np.zeros((1, 1))}))


def test_modules_are_called_for_one_image(model: Model) -> None:
    calls = soundness._calls(serve(model, PLAIN), reference_of(model, IMAGES, PLAIN), 1)
    assert calls[-1].name == ""
    assert {call.outputs[0].shape[0] for call in calls if call.name in ("", "head")} == {1}


NAN, FINE = torch.tensor([torch.nan]), torch.ones(1)


@pytest.mark.parametrize(
    ("name", "inputs", "expected"),
    [("a.b", FINE, "a.b"), ("a.b", NAN, "a"), ("a", NAN, "the model"), ("", FINE, "the model")],
)
def test_what_came_in_broken_broke_in_the_module_around(
    name: str, inputs: torch.Tensor, expected: str, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = subset(reference_of(model, IMAGES, PLAIN), 2)
    truth.exact["logits"][1] = np.nan
    asked: list[int] = []

    def calls(_served: ServedModel, _truth: Reference, image: int) -> tuple[Call, ...]:
        asked.append(image)
        return Call("sound", (FINE,), (FINE,)), Call(name, (inputs,), (NAN,))

    monkeypatch.setattr(soundness, "_calls", calls)
    assert soundness._first_not_finite(serve(model, PLAIN), truth) == expected
    assert asked == [1]
