"""A package takes its inputs in its types, or they are refused; where CoreML is not, our evaluator says so."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slide_export.backends.coreml.session import Session, substitute_runtime
from slide_export.core.errors import BundleError, RequestError
from slide_export.mil import Package

SETTINGS = {"mode": "float32", "compute_units": "ALL", "labels": [], "bytes": False}


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


def test_what_cannot_be_evaluated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected an ML Program at"):
        Session(tmp_path, SETTINGS)


@pytest.mark.parametrize(("platform", "substituted"), [("darwin", False), ("linux", True)])
def test_off_macos_the_evaluator_says_whose_place_it_takes(
    platform: str, substituted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert ("in CoreML's place" in (substitute_runtime() or "")) is substituted
