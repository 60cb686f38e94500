"""OpenMMLab's test pipelines: sizes, crops, filters and colours as the steps tell them."""

from typing import Any

import pytest

from slide_export.models.data import IMAGENET_MEAN
from slide_export.models.family import ShapeError
from slide_export.models.formats.openmmlab_images import (
    NO_PIPELINE,
    NOTHING_TOLD,
    OTHER_RESIZE,
    SCENES,
    images_told,
    read_images,
)

STEPS: dict[str, tuple[list[dict[str, Any]], tuple[Any, ...]]] = {
    "short edge": ([{"type": "ResizeEdge", "scale": 80, "backend": "pillow"}], (True, (80, 80), "bilinear")),
    "cropped": (
        [{"type": "ResizeEdge", "scale": 80}, {"type": "CenterCrop", "crop_size": 40}], (True, (128, 128), "bilinear")
    ),
    "both sides": ([{"type": "Resize", "scale": 96, "interpolation": "bicubic"}], (False, (96, 96), "bicubic")),
    "mmcls": (
        [{"type": "Resize", "size": (80, -1)}, {"type": "CenterCrop", "crop_size": 64}], (True, (80, 80), "bilinear")
    ),
    "scenes": ([{"type": "Resize", "scale": (2048, 512), "keep_ratio": True}], (False, (64, 64), "bilinear")),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_openmmlabs_pipelines(name: str) -> None:
    steps, expected = STEPS[name]
    data, assumed, _ = read_images({"test_pipeline": [{"type": "LoadImageFromFile"}, *steps]}, (64, 64))
    assert (data.keep_aspect, data.resized((64, 64)), data.interpolation) == expected
    assert bool(assumed) == (name == "scenes")


def test_openmmlabs_old_normalisation_is_read_and_blue_first_refused() -> None:
    steps = [
        {"type": "Resize", "size": (80, -1)},
        {"type": "Normalize", "mean": [127.5] * 3, "std": [51.0] * 3, "to_rgb": True},
    ]
    assert read_images({"test_pipeline": steps}, (64, 64))[0].mean == (0.5, 0.5, 0.5)
    steps[1]["to_rgb"] = False
    with pytest.raises(ShapeError, match="to_rgb False"):
        read_images({"test_pipeline": steps}, (64, 64))
    with pytest.raises(ShapeError, match="bgr_to_rgb False"):
        read_images({"test_pipeline": steps[:1], "data_preprocessor": {"bgr_to_rgb": False}}, (64, 64))


def pipeline(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"test_pipeline": list(steps)}


SHORT = {"type": "ResizeEdge", "scale": 80}


@pytest.mark.parametrize(
    ("size", "keep_aspect", "scale"),
    [((224, 224), True, 256 / 224), ((383, 512), True, 256 / 224), ((384, 384), False, 1.0), ((512, 384), False, 1.0)],
)
def test_without_a_pipeline_pictures_of_384_are_whole(size: tuple[int, int], keep_aspect: bool, scale: float) -> None:
    data, assumed, notes = read_images({}, size)
    assert (data.keep_aspect, data.scale, data.interpolation) == (keep_aspect, scale, "bicubic")
    assert (data.mean, assumed, notes) == (IMAGENET_MEAN, (NOTHING_TOLD,), ())


def test_colours_without_a_pipeline_leave_sizes_alone_open() -> None:
    config = {"data_preprocessor": {"mean": [51.0] * 3, "to_rgb": True}}
    data, assumed, _ = read_images(config, (64, 64))
    assert (data.mean, assumed) == ((0.2,) * 3, (NO_PIPELINE,))
    assert set(images_told(config)) == {"mean"}


@pytest.mark.parametrize(
    "config",
    [
        {"test_pipeline": [SHORT], "test_dataloader": {"dataset": {"pipeline": []}}},
        {"test_dataloader": {"dataset": {"pipeline": [SHORT, "a step that is no dictionary"]}}},
        {"data": {"test": {"pipeline": [SHORT]}}, "test_pipeline": None},
    ],
)
def test_a_pipeline_stands_in_one_of_three_places(config: dict[str, Any]) -> None:
    assert read_images(config, (64, 64))[0].resized((64, 64)) == (80, 80)
    assert set(images_told(config)) == {"resize", "crop", "interpolation"}


def test_a_pipeline_that_resizes_nothing_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"test_pipeline .* without ResizeEdge or Resize"):
        read_images(pipeline({"type": "LoadImageFromFile"}), (64, 64))


def test_opencvs_filter_is_said_unless_pillow_is_named() -> None:
    assert read_images(pipeline(SHORT), (64, 64))[2] == (OTHER_RESIZE,)
    assert read_images(pipeline({**SHORT, "backend": "pillow"}), (64, 64))[2] == ()


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ({**SHORT, "interpolation": "lanczos"}, "interpolation 'lanczos'"),
        ({"type": "ResizeEdge"}, "ResizeEdge .* a scale or a size"),
        ({"type": "Resize", "scale": 64, "scale_factor": 2.0}, "Resize .* a scale or a size"),
        ({**SHORT, "edge": "long"}, "edge 'long'"),
        ({"type": "Resize", "size": (80, -1), "edge": "width"}, "edge 'width'"),
        ({"type": "Resize", "scale": "64"}, "scale '64'"),
    ],
)
def test_a_resize_that_is_not_modelled_is_refused(step: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ShapeError, match=sentence):
        read_images(pipeline(step), (64, 64))


def test_a_ratio_that_is_kept_counts_for_both_sides_alone() -> None:
    """`keep_ratio` beside one edge says nothing new; beside two sides it makes a picture of any shape."""
    assert read_images(pipeline({"type": "Resize", "size": (80, -1), "keep_ratio": True}), (64, 64))[1] == ()
    assert read_images(pipeline({"type": "Resize", "scale": (80, 80), "keep_ratio": False}), (64, 64))[1] == ()
    assert read_images(pipeline({"type": "Resize", "scale": (80, 80), "keep_ratio": True}), (64, 64))[1] == (SCENES,)


COLOURS = {"mean": [51.0] * 3, "std": [51.0] * 3}


@pytest.mark.parametrize(
    "config",
    [
        {"data_preprocessor": {**COLOURS, "to_rgb": True}},
        {"data_preprocessor": {**COLOURS, "bgr_to_rgb": True}},
        {"model": {"data_preprocessor": {**COLOURS, "to_rgb": True}}, "data_preprocessor": {"mean": [0.0] * 3}},
        {"img_norm_cfg": COLOURS},  # mmcv 1: its Normalize turns them unless it says otherwise
        {"img_norm_cfg": {"mean": [0.0] * 3}, **pipeline(SHORT, {"type": "Normalize", **COLOURS})},
    ],
)
def test_colours_are_told_by_the_step_the_preprocessor_or_the_norm(config: dict[str, Any]) -> None:
    data = read_images(config, (64, 64))[0]
    assert (data.mean, data.std) == ((0.2,) * 3, (0.2,) * 3)


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (COLOURS, "to_rgb=True"),
        ({**COLOURS, "to_rgb": False}, "to_rgb False"),
        ({**COLOURS, "bgr_to_rgb": False}, "bgr_to_rgb False"),
        ({**COLOURS, "to_rgb": True, "rgb_to_bgr": True}, "rgb_to_bgr True"),
    ],
)
def test_a_preprocessor_whose_colours_are_not_red_green_blue_is_refused(told: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ShapeError, match=sentence):
        read_images({"data_preprocessor": told}, (64, 64))
