"""A package takes its inputs in its types, or they are refused; where CoreML is not, our evaluator says so."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slide_export.backends.coreml.inside import intermediates, values
from slide_export.backends.coreml.session import Session, substitute_runtime
from slide_export.core.errors import BundleError, RequestError
from slide_export.mil import Package

SETTINGS = {"mode": "float32", "compute_units": "ALL", "labels": [], "bytes": False}


@pytest.fixture
def doubled(save: Any) -> Package:
    """y = relu(2 x) of x [2, 3]."""
    from coremltools.converters.mil.mil import Builder

    @Builder.program(input_specs=[Builder.TensorSpec(shape=(2, 3))])
    def program(x: Any) -> Any:
        twice = Builder.mul(x=x, y=np.float32(2), name="twice")
        return Builder.relu(x=twice, name="y")

    found: Package = save(program, "fp32")
    return found


ONES = np.ones((2, 3), np.float32)


def test_images_go_through_in_permitted_batches(doubled: Package) -> None:
    found = Session(doubled.path, SETTINGS).run({"x": np.concatenate([ONES, -ONES])})
    assert found["y"].tolist() == [[2] * 3] * 2 + [[0] * 3] * 2
    assert found["y"].dtype == np.float32


@pytest.mark.parametrize(
    ("feeds", "pictures", "refused"),
    [
        ({"x": ONES}, False, False),
        ({"x": ONES.astype(np.uint8)}, True, False),
        ({"x": ONES.astype(np.uint8)}, False, True),
        ({"x": ONES.astype(np.float64)}, True, True),
        ({"y": ONES}, False, True),
        ({"x": ONES, "y": ONES}, False, True),
        ({}, False, True),
    ],
)
def test_feeds_are_the_inputs_in_their_types(
    feeds: dict[str, Any], pictures: bool, refused: bool, doubled: Package
) -> None:
    session = Session(doubled.path, {**SETTINGS, "bytes": pictures})
    if refused:
        with pytest.raises(RequestError, match="expected the input x of"):
            session.run(feeds)
    else:
        assert session.run(feeds)["y"].tolist() == [[2] * 3] * 2


def test_a_batch_that_the_package_does_not_take_is_refused(doubled: Package) -> None:
    with pytest.raises(RequestError, match="expected a batch of 2, found 3 images"):
        Session(doubled.path, SETTINGS).run({"x": np.ones((3, 3), np.float32)})


def test_values_inside_depend_on_an_input_and_are_given(doubled: Package) -> None:
    found = values(doubled.path, SETTINGS)
    assert [(one.name, one.takes) for one in found] == [("twice", ("x",)), ("y", ("twice",))]
    shown = intermediates(doubled.path, SETTINGS, ["twice"]).run({"x": -ONES})
    assert shown["twice"].tolist() == [[-2] * 3] * 2


def test_what_cannot_be_evaluated_is_refused(tmp_path: Path) -> None:
    for opened in (Session, intermediates):
        with pytest.raises(BundleError, match="expected an ML Program at"):
            opened(tmp_path, SETTINGS, ()) if opened is intermediates else opened(tmp_path, SETTINGS)  # type: ignore[operator]


@pytest.mark.parametrize(("platform", "substituted"), [("darwin", False), ("linux", True)])
def test_off_macos_the_evaluator_says_whose_place_it_takes(
    platform: str, substituted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert ("in CoreML's place" in (substitute_runtime() or "")) is substituted
