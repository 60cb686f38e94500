"""timm's own models: how their names are told apart and renumbered, and what config.json changes of a Swin."""

from typing import Any

import pytest
import torch
from torch import Tensor

from slide_export.models.family import ShapeError
from slide_export.models.formats import rename
from slide_export.models.formats.format import Beside
from slide_export.models.formats.timm import (
    FORMATS,
    PVT_V2,
    SWIN,
    SWIN_FEATURES,
    is_mvit_v2,
    is_old_swin,
    is_swin,
    is_twins,
    mvit_v2_rules,
    read_mvit_v2,
    read_old_swin,
    read_pvt_v2,
    read_swin,
    read_twins,
)

from .swin_shapes import swin_shapes

TABLE = "layers.0.blocks.0.attn.relative_position_bias_table"
LATER, EARLIER = "layers.1.downsample.reduction.weight", "layers.0.downsample.reduction.weight"


def beside(architecture: str = "swin_tiny", **arguments: Any) -> Beside:
    return Beside({"architecture": architecture, "model_args": arguments})


def test_where_patches_are_merged_tells_the_two_swins_apart() -> None:
    assert is_swin([TABLE, LATER])
    assert not is_swin([TABLE, LATER, EARLIER])
    assert not is_swin([LATER])
    assert is_old_swin([TABLE, EARLIER])
    assert not is_old_swin([TABLE, LATER])
    assert not is_old_swin([EARLIER])


def test_twins_and_mvitv2_are_told_by_two_names() -> None:
    assert is_twins(["patch_embeds.0.proj.weight", "pos_block.0.proj.0.weight"])
    assert not is_twins(["patch_embeds.0.proj.weight"])
    assert is_mvit_v2(["stages.0.blocks.0.attn.pool_q.weight"])
    assert is_mvit_v2(["stages.0.blocks.0.attn.rel_pos_h"])
    assert not is_mvit_v2(["blocks.0.attn.rel_pos_h"])


def test_the_authors_names_are_timms_only_where_a_configuration_says_so() -> None:
    alone = {one.name for one in FORMATS if one.only_with == "architecture"}
    assert alone == {"timm Twins", "timm (before 0.9) Swin"}


def test_a_merging_at_the_start_of_a_stage_ends_the_one_before_here() -> None:
    assert rename(SWIN, [LATER]).origins.keys() == {EARLIER}
    assert rename(SWIN_FEATURES, ["layers_3.downsample.norm.bias"]).origins.keys() == {"layers.2.downsample.norm.bias"}
    keys = ["stages.2.blocks.1.mlp.dwconv.weight", "stages.1.downsample.proj.bias", "stages.3.norm.weight"]
    assert rename(PVT_V2, keys).origins.keys() == {
        "block3.1.mlp.dwconv.dwconv.weight",
        "patch_embed2.proj.bias",
        "norm4.weight",
    }


def test_blocks_of_an_mvitv2_are_numbered_through() -> None:
    keys = ["stages.0.blocks.0.norm1.bias", "stages.1.blocks.0.shortcut_proj_attn.bias", "stages.1.blocks.1.norm1.bias"]
    assert rename(mvit_v2_rules(keys), keys).origins.keys() == {
        "blocks.0.norm1.bias",
        "blocks.1.proj.bias",
        "blocks.2.norm1.bias",
    }


def test_without_a_configuration_timms_defaults_are_assumed_aloud() -> None:
    told = read_swin(swin_shapes(), Beside())
    fields = told.fields
    assert (fields["resized_window"], fields["roll_first"], fields["whole_patches"]) == ("keep", True, True)
    assert (fields["image_size"], "small_maps" in fields) == ((224, 224), False)
    assert told.guessed == {"image_size"}
    assert any("32 times the window" in one for one in told.assumed)
    assert any(one.startswith("no config.json") for one in told.assumed)
    assert told.source == ""


def test_a_cut_window_tells_the_input_of_a_classifier() -> None:
    told = read_swin(swin_shapes(image_size=(192, 192)), Beside())
    assert told.fields["image_size"] == (192, 192)
    assert any("the largest that the windows fit" in one for one in told.assumed)


def test_maps_that_end_before_the_last_stage_leave_the_input_open() -> None:
    """Three stages of four, as features_only drops those that nobody asked for: 32 windows, not 16."""
    state = swin_shapes(head=False, norm=False, depths=(1, 1, 1), heads=(1, 1, 2), image_size=(112, 112))
    assert read_swin(state, Beside()).fields["image_size"] == (224, 224)
    whole = swin_shapes(head=False, depths=(1, 1, 1), heads=(1, 1, 2), image_size=(112, 112))
    assert read_swin(whole, Beside()).fields["image_size"] == (112, 112)


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        ({"strict_img_size": False}, "resized_window", "fixed"),
        ({"strict_img_size": True}, "resized_window", "keep"),
        ({"always_partition": True}, "small_maps", "pad-and-shift"),
        ({"always_partition": False}, "small_maps", None),
        ({"img_size": [96, 64]}, "image_size", (96, 64)),
        ({"window_size": 6}, "window", (6, 6)),
        ({"depths": [1, 1, 1, 1]}, "depths", (1, 1, 1, 1)),
        ({"num_heads": [1, 2, 2, 4]}, "heads", (1, 2, 2, 4)),
        ({"out_indices": [3, -4]}, "feature_stages", None),  # of a classifier: nobody asked for maps
    ],
)
def test_arguments_of_a_swin(arguments: dict[str, Any], field: str, value: Any) -> None:
    told = read_swin(swin_shapes(), beside(**arguments))
    assert told.fields.get(field) == value
    assert told.source == "config.json"


def test_stages_that_a_backbone_hands_on_are_counted_from_either_end() -> None:
    body = swin_shapes(head=False)
    assert read_swin(body, beside(out_indices=[3, 1])).fields["feature_stages"] == (1, 3)
    assert read_swin(body, beside(out_indices=[-4, -1])).fields["feature_stages"] == (0, 3)
    assert any("which maps a backbone hands on" in one for one in read_swin(body, beside()).assumed)
    assert not any("hands on" in one for one in read_swin(body, beside(out_indices=[3])).assumed)


@pytest.mark.parametrize("stage", [4, -5])
def test_a_stage_that_is_none_is_refused(stage: int) -> None:
    with pytest.raises(ShapeError, match=rf"out_indices \[0, {stage}\] .*, where one of 4 stages is"):
        read_swin(swin_shapes(head=False), beside(out_indices=[0, stage]))


def test_windows_of_a_swin_s3_are_refused_by_name() -> None:
    with pytest.raises(ShapeError, match="'swin_s3_tiny_224', whose windows differ"):
        read_swin(swin_shapes(), beside("swin_s3_tiny_224"))


def test_biases_that_a_configuration_denies_are_refused() -> None:
    with pytest.raises(ShapeError, match="qkv_bias False"):
        read_swin(swin_shapes(), beside(qkv_bias=False))
    without = {key: value for key, value in swin_shapes().items() if not key.endswith("qkv.bias")}
    assert 0.0 in read_swin(without, beside(qkv_bias=False)).filled.values()


def test_an_older_swin_shrinks_windows_as_the_authors_do() -> None:
    told = read_old_swin(swin_shapes(), beside("swin_tiny_patch4_window7_224", img_size=224))
    assert (told.fields["window"], told.fields["image_size"]) == ((7, 7), (224, 224))
    assert told.fields["resized_window"] == "keep"
    assert not {"roll_first", "whole_patches"} & told.fields.keys()
    assert told.filled == {}


def pvt_shapes(stages: int = 4) -> dict[str, Tensor]:
    names = ("patch_embed{}.proj.weight", "block{}.0.attn.q.weight")
    return {name.format(stage + 1): torch.empty(8, 8, device="meta") for name in names for stage in range(stages)}


def test_arguments_of_a_pvtv2_are_cut_to_the_stages_of_the_file() -> None:
    arguments = {"depths": (3, 4, 6, 3), "num_heads": (1, 2, 5, 8), "sr_ratios": [8, 4, 2, 1], "img_size": 96}
    fields = read_pvt_v2(pvt_shapes(2), beside("pvt_v2_b2", **arguments)).fields
    assert (fields["depths"], fields["heads"], fields["reductions"]) == ((3, 4), (1, 2), (8, 4))
    assert fields["image_size"] == (96, 96)


def test_a_linear_pvtv2_has_no_ratios() -> None:
    fields = read_pvt_v2(pvt_shapes(), beside("pvt_v2_b2_li", linear=True, sr_ratios=[8, 4, 2, 1])).fields
    assert fields["linear"] is True
    assert "reductions" not in fields


def test_a_twins_has_zeros_that_are_attended_to() -> None:
    fields = read_twins({}, beside("twins_svt_small", num_heads=[2, 4], wss=[7, 7])).fields
    assert fields == {"padding": "zeros", "heads": (2, 4), "windows": (7, 7)}
    assert read_twins({}, beside("twins_svt_small", num_heads=None)).fields == {"padding": "zeros"}


def test_the_input_of_an_mvitv2_tells_its_pictures_alone() -> None:
    told = read_mvit_v2({}, beside("mvitv2_tiny", img_size=384))
    assert (told.fields, told.data.scale) == ({}, 1.0)
    assert read_mvit_v2({}, beside("mvitv2_tiny")).data.scale == 1 / 0.9
