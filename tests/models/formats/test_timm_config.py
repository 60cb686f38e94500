"""timm's config.json, field by field: what is read, what is assumed and what is refused."""

from typing import Any

import pytest
import torch

from slide_export.models.data import IMAGENET_MEAN, IMAGENET_STD
from slide_export.models.family import ShapeError
from slide_export.models.formats.timm_config import (
    images_told,
    pretrained_of,
    read_arguments,
    read_data,
    read_image_size,
    read_labels,
    read_window,
    unsaid,
    with_processor,
)

HEAD = {"head.weight": torch.empty(10, 8, device="meta")}
WHOLE: dict[str, Any] = {
    "mean": [0.5] * 3, "std": [0.25] * 3, "crop_pct": 0.8, "interpolation": "bilinear", "input_size": [3, 64, 96],
}  # fmt: skip


def pretrained(**changes: Any) -> dict[str, Any]:
    return {"pretrained_cfg": {**WHOLE, **changes}}


def test_what_is_not_read_is_said() -> None:
    assert unsaid({"architecture": "a", "_note": 1, "label_names": []}, {}, (1, 1)) == ()
    (said,) = unsaid(dict.fromkeys([f"x{number}" for number in range(9)], 0), {}, (1, 1))
    assert "also has x0, x1, x2, x3, x4, x5, x6, x7:" in said  # the first eight


def test_fields_of_pretrained_cfg_may_stand_at_the_top_unless_it_is_there() -> None:
    assert unsaid({"crop_pct": 0.9}, {}, (1, 1)) == ()
    assert "crop_pct" in unsaid({"crop_pct": 0.9, "pretrained_cfg": {}}, {}, (1, 1))[0]


def test_another_input_than_the_one_that_is_taken_is_said() -> None:
    assert unsaid({}, {"input_size": [3, 64, 96]}, (64, 96)) == ()
    (said,) = unsaid({}, {"input_size": [3, 64, 96]}, (96, 64))
    assert "input_size [3, 64, 96] and the model's own img_size" in said


def test_a_processor_fills_in_what_the_configuration_lacks() -> None:
    config = {"pretrained_cfg": {"mean": [0.5] * 3}}
    told = with_processor(config, {"pretrained_cfg": {"mean": [0.5] * 3, "crop_pct": 0.8, "url": "b"}})
    assert told["pretrained_cfg"] == {"mean": [0.5] * 3, "crop_pct": 0.8, "url": "b"}
    assert with_processor(config, {"pretrained_cfg": "swin"}) is config
    assert with_processor({"pretrained_cfg": {"url": "a"}}, {"pretrained_cfg": {"url": "b"}})["pretrained_cfg"] == {
        "url": "a"
    }


@pytest.mark.parametrize("name", ["mean", "std", "crop_pct", "interpolation"])
def test_a_processor_that_says_otherwise_is_refused(name: str) -> None:
    other = {"mean": [0.4] * 3, "std": [0.4] * 3, "crop_pct": 0.9, "interpolation": "bicubic"}[name]
    with pytest.raises(ShapeError, match=rf"{name} .* in preprocessor_config\.json, where .*, as in config\.json"):
        with_processor(pretrained(), {"pretrained_cfg": {name: other}})


@pytest.mark.parametrize(
    ("config", "own", "labels"),
    [
        ({}, {}, ()),
        ({"label_names": ["a", "b"]}, {"label_names": ["c"]}, ("a", "b")),
        ({}, {"label_names": ["c"], "labels": ["d"]}, ("c",)),
        ({}, {"labels": {"0": "d"}}, ("d",)),
        ({"labels": ["d"]}, {}, ()),
        ({"label_names": ["LABEL_0", "LABEL_1"]}, {}, ()),
        ({"label_names": ["LABEL_0", "LABEL_2"]}, {}, ("LABEL_0", "LABEL_2")),
    ],
)
def test_class_names_stand_in_one_of_three_places(
    config: dict[str, Any], own: dict[str, Any], labels: tuple[str, ...]
) -> None:
    assert read_labels(config, own) == labels


def test_what_pretrained_cfg_tells_of_the_pictures() -> None:
    assert images_told({}) == {}
    assert set(images_told(pretrained())) == {"mean", "std", "interpolation", "resize", "crop"}
    assert set(images_told({"pretrained_cfg": {"std": [1] * 3}})) == {"std"}


def test_up_to_0_6_pretrained_cfg_is_the_configuration_itself() -> None:
    flat = {"input_size": [3, 64, 64], "crop_pct": 0.8}
    assert pretrained_of(flat) == flat
    assert pretrained_of({"crop_pct": 0.8}) == {}
    assert pretrained_of({**flat, "pretrained_cfg": {"mean": 1}}) == {"mean": 1}
    with pytest.raises(ShapeError, match=r"pretrained_cfg 'swin' .* an object"):
        pretrained_of({"pretrained_cfg": "swin"})


def test_arguments_of_the_same_model_are_read() -> None:
    arguments = {"in_chans": 3, "patch_size": [4, 4], "global_pool": "", "head_dim": None, "depths": [1]}
    config = {"architecture": "swin_tiny", "num_classes": 10, "global_pool": "avg", "model_args": arguments}
    assert read_arguments(config, HEAD, "twins_", "swin_") == arguments
    assert read_arguments({}, HEAD, "swin_") == {}
    assert read_arguments({"model_args": None, "num_classes": 3}, {}, "swin_") == {}  # no head says otherwise


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"architecture": "swinv2_tiny"}, r"architecture 'swinv2_tiny' .* twins_\.\.\. or swin_\.\.\."),
        ({"num_classes": 9}, "num_classes 9"),
        ({"model_args": []}, r"model_args \[\]"),
        ({"model_args": {"in_chans": 4}}, "in_chans 4"),
        ({"model_args": {"patch_size": 2}}, "patch_size 2"),
        ({"model_args": {"patch_size": [4, 2]}}, r"patch_size \[4, 2\]"),
        ({"model_args": {"act_layer": "relu"}}, "act_layer 'relu'"),
        ({"model_args": {"head_dim": 16}}, "head_dim 16"),
        ({"model_args": {"ape": True}}, "ape True .* no such argument"),
        ({"global_pool": "max"}, "global_pool 'max'"),
    ],
)
def test_arguments_of_another_model_are_refused(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ShapeError, match=sentence):
        read_arguments(config, HEAD, "twins_", "swin_")


def test_the_classes_of_a_projecting_head_count_too() -> None:
    projection = {"head.projection.weight": torch.empty(10, 8, device="meta")}
    assert read_arguments({"num_classes": 10}, projection, "mvitv2_") == {}
    with pytest.raises(ShapeError, match="num_classes 9"):
        read_arguments({"num_classes": 9}, projection, "mvitv2_")


@pytest.mark.parametrize(
    ("told", "name", "window"),
    [
        (None, "swin_tiny_patch4_window7_224", (7, 7)),
        (None, "swin_large_patch4_window12_384", (12, 12)),
        (None, "swin_tiny", None),
        (8, "swin_tiny_patch4_window7_224", (8, 8)),
        ([8, 10], "", (8, 10)),
        ([8, 8, 8, 8], "", (8, 8)),
        ([[8, 10], [8, 10]], "", (8, 10)),
    ],
)
def test_the_window_is_told_by_the_argument_or_the_name(told: Any, name: str, window: Any) -> None:
    assert read_window(told, name) == window


@pytest.mark.parametrize("told", [[8, 8, 7], [[8, 10], [10, 8]], [[8, 10], 8]])
def test_windows_that_differ_from_stage_to_stage_are_refused(told: Any) -> None:
    with pytest.raises(ShapeError, match="the same window in every stage"):
        read_window(told, "")


def test_the_input_is_the_arguments_before_that_of_pretrained_cfg() -> None:
    assert read_image_size(pretrained(), {"img_size": 32}) == (32, 32)
    assert read_image_size(pretrained(), {}) == (64, 96)
    assert read_image_size({"pretrained_cfg": {}}, {}) is None


def test_all_of_the_preprocessing_is_told() -> None:
    data, assumed = read_data(pretrained(crop_mode="squash"), (64, 96))
    assert (data.mean, data.std, data.interpolation, data.keep_aspect) == ((0.5,) * 3, (0.25,) * 3, "bilinear", False)
    assert (data.scale, assumed) == (1 / 0.8, ())


@pytest.mark.parametrize(
    ("size", "scale"), [((224, 224), 1 / 0.9), ((383, 512), 1 / 0.9), ((384, 384), 1.0), ((512, 384), 1.0)]
)
def test_without_a_pretrained_cfg_pictures_of_384_are_whole(size: tuple[int, int], scale: float) -> None:
    data, assumed = read_data({}, size)
    assert (data.scale, data.mean, data.std) == (scale, IMAGENET_MEAN, IMAGENET_STD)
    assert (data.interpolation, data.keep_aspect, len(assumed)) == ("bicubic", True, 1)


@pytest.mark.parametrize("name", ["mean", "std", "crop_pct", "interpolation"])
def test_one_field_of_the_preprocessing_that_is_missing_is_assumed_aloud(name: str) -> None:
    told = {key: value for key, value in WHOLE.items() if key != name}
    data, assumed = read_data({"pretrained_cfg": told}, (384, 384))
    assert "timm's default is assumed" in assumed[0]
    assert data.scale == (1 / 0.875 if name == "crop_pct" else 1 / 0.8)  # timm's DEFAULT_CROP_PCT


@pytest.mark.parametrize("share", [1e-3, 0.5, 1, 1.0])
def test_a_crop_may_be_up_to_the_whole_picture(share: float) -> None:
    assert read_data(pretrained(crop_pct=share), (64, 64))[0].scale == 1 / share


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"crop_pct": 1.001}, "crop_pct 1.001"),
        ({"crop_pct": -0.5}, "crop_pct -0.5"),
        ({"crop_pct": "0.9"}, "crop_pct '0.9'"),
        ({"crop_mode": "border"}, "crop_mode 'border'"),
        ({"interpolation": "lanczos"}, "interpolation 'lanczos'"),
    ],
)
def test_preprocessing_that_is_not_modelled_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ShapeError, match=sentence):
        read_data(pretrained(**changes), (64, 64))
