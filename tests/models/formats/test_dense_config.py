"""What OpenMMLab's configuration text tells of a head, its input and its pictures; what is refused of it."""

from typing import Any

import pytest

from slide_export.models.family import ShapeError
from slide_export.models.formats.dense_config import input_size, read_head, read_scenes
from slide_export.models.heads import RETINANET, SEMANTIC_FPN, UPERNET

UPER: dict[str, Any] = {
    "type": "UPerHead",
    "in_channels": [96, 192, 384, 768],
    "in_index": [0, 1, 2, 3],
    "pool_scales": [1, 2, 4, 8],
    "channels": 512,
    "dropout_ratio": 0.1,
    "num_classes": 150,
    "norm_cfg": {"type": "GN", "num_groups": 32},
    "align_corners": True,
}
RETINA: dict[str, Any] = {
    "type": "RetinaHead",
    "num_classes": 80,
    "anchor_generator": {
        "type": "AnchorGenerator",
        "octave_base_scale": 4,
        "scales_per_octave": 2,
        "ratios": [0.5, 2.0],
        "strides": [8, 16, 32, 64, 128],
    },
    "bbox_coder": {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4, "target_stds": [1.0] * 4},
}


def of(**model: Any) -> dict[str, Any]:
    return {"model": model}


def test_fields_of_a_segmenters_head_are_honoured() -> None:
    told = read_head({**of(decode_head=UPER), "dataset_meta": {"reduce_zero_label": True}}, UPERNET)
    assert told.fields == {
        "align_corners": True,
        "pool_scales": (1, 2, 4, 8),
        "norm_groups": 32,
        "reduce_zero_label": True,
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "ASPPHead"),
        ("in_index", [1, 2, 3]),
        ("act_cfg", {"type": "GELU"}),
        ("norm_cfg", {"type": "LN"}),
        ("norm_cfg", {"type": "BN", "eps": 1e-3}),
        ("dilations", [1, 6]),
    ],
)
def test_a_field_of_a_segmenters_head_that_is_not_modelled_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ShapeError, match=field):
        read_head(of(decode_head={**UPER, field: value}), UPERNET)


def test_fields_of_a_detectors_head_are_honoured() -> None:
    test = {"nms_pre": 500, "score_thr": 0.1, "nms": {"type": "nms", "iou_threshold": 0.6}, "max_per_img": 30}
    told = read_head(of(bbox_head=RETINA, test_cfg=test), RETINANET)
    assert told.fields == {
        "score_threshold": 0.1,
        "candidates": 500,
        "detections": 30,
        "iou_threshold": 0.6,
        "anchor_scales": (4.0, 4 * 2**0.5),
        "anchor_ratios": (0.5, 2.0),
        "anchor_strides": (8, 16, 32, 64, 128),
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "ATSSHead"),
        ("bbox_coder", {"target_stds": [0.1, 0.1, 0.2, 0.2]}),
        ("anchor_generator", {"type": "AnchorGenerator", "center_offset": 0.5}),
        ("norm_cfg", {"type": "BN"}),
        ("loss_cls", {"use_sigmoid": False}),
    ],
)
def test_a_field_of_a_detectors_head_that_is_not_modelled_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ShapeError):
        read_head(of(bbox_head={**RETINA, field: value}), RETINANET)


FPN = {"type": "FPN", "in_channels": [256] * 4, "out_channels": 256, "num_outs": 5}


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ({}, {}),
        ({"add_extra_convs": True}, {"neck_extra_on": "input"}),
        ({"add_extra_convs": "on_output"}, {"neck_extra_on": "output"}),
    ],
)
def test_what_a_level_beyond_the_last_stage_convolves_is_told(extra: dict[str, Any], told: dict[str, Any]) -> None:
    assert read_head(of(neck={**FPN, **extra}), RETINANET).fields == told


@pytest.mark.parametrize(
    "changed",
    [
        {"type": "PAFPN"},
        {"add_extra_convs": "on_lateral"},
        {"relu_before_extra_convs": True},
        {"norm_cfg": {"type": "BN"}},
        {"upsample_cfg": {"mode": "bilinear"}},
    ],
)
def test_a_neck_that_is_not_modelled_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ShapeError, match=f"neck.{next(iter(changed))}"):
        read_head(of(neck={**FPN, **changed}), RETINANET)


SCALED = [{"type": "Resize", "scale": [2048, 512], "keep_ratio": True}]
OLD = [{"type": "MultiScaleFlipAug", "img_scale": [1333, 800], "transforms": [{"type": "Resize", "keep_ratio": True}]}]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, None),
        ({"crop_size": [512, 640]}, (512, 640)),
        ({"test_pipeline": SCALED}, (512, 512)),
        ({"test_pipeline": OLD}, (800, 1344)),
        ({**of(test_cfg={"mode": "slide", "crop_size": [480, 480]}), "crop_size": [512, 512]}, (480, 480)),
    ],
)
def test_the_input_is_told_by_windows_crops_or_scales(config: dict[str, Any], expected: Any) -> None:
    assert input_size(config) == expected
    told = read_head(config, SEMANTIC_FPN)
    assert told.input_size == (expected or (512, 512))
    assert bool(told.input_assumed) == (expected is None)


def test_windows_of_an_evaluation_are_said() -> None:
    told = read_head(of(test_cfg={"mode": "slide", "crop_size": [480, 480], "stride": [320, 320]}), UPERNET)
    assert "windows of [480, 480] every [320, 320] pixels" in told.notes[0]


def test_colours_of_pictures_are_told_by_preprocessor_pipeline_or_norm() -> None:
    colours = {"mean": [127.5] * 3, "std": [51.0] * 3}
    for config in (
        {"data_preprocessor": {**colours, "bgr_to_rgb": True}},
        of(data_preprocessor={**colours, "bgr_to_rgb": True}),
        {"img_norm_cfg": {**colours, "to_rgb": True}},
        {"test_pipeline": [{"type": "MultiScaleFlipAug", "transforms": [{"type": "Normalize", **colours}]}]},
    ):
        data = read_scenes(config).data
        assert (data.mean, data.std) == ((0.5,) * 3, (0.2,) * 3)
        assert (data.keep_aspect, data.scale, data.interpolation) == (False, 1.0, "bilinear")


@pytest.mark.parametrize(
    ("pipeline", "kept"),
    [
        ([], True),
        (SCALED, True),
        (OLD, True),
        ([{"type": "Resize", "scale": [512, 512]}], False),
        ([{"type": "MultiScaleFlipAug", "img_scale": [512, 512], "transforms": [{"type": "Resize"}]}], True),
        ([{"type": "Resize", "scale": [512, 512], "keep_ratio": False}], False),
    ],
)
def test_the_ratio_of_pictures_is_kept_as_the_pipeline_does(pipeline: list[dict[str, Any]], kept: bool) -> None:
    scenes = read_scenes({"test_pipeline": pipeline, "img_norm_cfg": {"mean": [127.5] * 3, "std": [51.0] * 3}})
    assert scenes.data.fits == kept
    assert bool(scenes.assumed) == kept


def test_blue_before_red_is_refused() -> None:
    with pytest.raises(ShapeError, match="bgr_to_rgb False"):
        read_scenes({"data_preprocessor": {"mean": [0] * 3, "std": [1] * 3, "bgr_to_rgb": False}})
