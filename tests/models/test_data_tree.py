"""Image settings of upstream's tree: which resize they ask for, which filter, and colours that are no three numbers."""

from typing import Any

import pytest

from slide_export.models.data import DataConfig
from slide_export.models.data_tree import data_from_tree
from slide_export.models.family import ShapeError

DEFAULT = DataConfig()


def test_a_tree_that_says_nothing_leaves_the_default() -> None:
    assert data_from_tree(None, DEFAULT) == DEFAULT
    assert data_from_tree({"DATA": None, "TEST": {}}, DEFAULT) == DEFAULT
    assert data_from_tree({"TEST": {"CROP": True}}, DEFAULT) == DEFAULT


def test_without_a_crop_both_sides_are_resized() -> None:
    found = data_from_tree({"TEST": {"CROP": False}}, DEFAULT)
    assert (found.keep_aspect, found.scale) == (False, 1.0)


@pytest.mark.parametrize(
    ("name", "filter_"), [("bicubic", "bicubic"), ("bilinear", "bilinear"), ("random", "bilinear"), ("", "bilinear")]
)
def test_a_filter_that_upstream_does_not_know_is_bilinear(name: str, filter_: str) -> None:
    """timm 0.3.2's _pil_interp ends in `else: return Image.BILINEAR`."""
    assert data_from_tree({"DATA": {"INTERPOLATION": name}}, DEFAULT).interpolation == filter_


@pytest.mark.parametrize("name", ["hamming", "lanczos"])
def test_a_filter_that_upstream_knows_and_is_not_exported_is_refused(name: str) -> None:
    with pytest.raises(ShapeError, match=rf"DATA\.INTERPOLATION '{name}'"):
        data_from_tree({"DATA": {"INTERPOLATION": name}}, DEFAULT)


def test_colours_are_three_numbers() -> None:
    found = data_from_tree({"DATA": {"MEAN": [0, 0.5, 1], "STD": (1, 1, 2.0)}}, DEFAULT)
    assert (found.mean, found.std) == ((0.0, 0.5, 1.0), (1.0, 1.0, 2.0))


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ({"DATA": {"MEAN": [0.5, 0.5]}}, r"DATA\.MEAN \[0\.5, 0\.5\]"),
        ({"DATA": {"MEAN": [0.5] * 4}}, r"DATA\.MEAN"),
        ({"DATA": {"MEAN": 0.5}}, r"DATA\.MEAN 0\.5"),
        ({"DATA": {"STD": [0.5, 0.5, True]}}, r"DATA\.STD"),
        ({"DATA": {"STD": [0.5, 0.5, float("nan")]}}, r"DATA\.STD"),
        ({"DATA": {"INTERPOLATION": 3}}, r"DATA\.INTERPOLATION"),
        ({"TEST": {"CROP": 1}}, r"TEST\.CROP"),
    ],
)
def test_settings_of_another_type_are_refused(tree: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ShapeError, match=sentence):
        data_from_tree(tree, DEFAULT)
