"""A backbone's format with each head: whose names are taken, how they are renamed, and what is told of both."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from slide_export.models import dense as models
from slide_export.models.data import DataConfig
from slide_export.models.family import ShapeError
from slide_export.models.formats import rename
from slide_export.models.formats.dense import (
    BACKBONES,
    FORK_ARGUMENTS,
    FORMATS,
    OWN,
    by_own_names,
    candidates,
    dense_format,
    without_token,
)
from slide_export.models.formats.format import Beside, Told
from slide_export.models.heads import RETINANET, SEMANTIC_FPN

NECK = ["neck.lateral_convs.0.conv.weight", "decode_head.scale_heads.0.0.conv.weight"]
W_MSA = "backbone.stages.0.blocks.0.attn.w_msa.qkv.weight"
SWIN = next(one for one in BACKBONES if one.name == "OpenMMLab Swin")
BOTH = dense_format(SWIN, SEMANTIC_FPN)


@pytest.mark.parametrize(("rows", "kept"), [(50, 49), (49, 49), (3136, 3136), (3137, 3136), (51, 51), (2, 1)])
def test_a_class_tokens_position_is_left_out(rows: int, kept: int) -> None:
    """One row more than a square is a token's; the rest stays, the last rows where they were."""
    table = torch.arange(float(rows)).reshape(1, rows, 1)
    assert without_token(table).shape[1] == kept
    assert without_token(table)[0, -1] == rows - 1


def renamed(*keys: str) -> set[str]:
    return set(rename(by_own_names(keys), keys).origins)


def test_norms_of_maps_count_from_where_the_authors_do() -> None:
    assert renamed("norm0.weight", "norm3.weight", "a.b") == {"norm0.weight", "norm.weight", "a.b"}
    assert renamed("norm1.weight", "norm4.weight", "stage1_conv_embed.0.bias") == {
        "norm0.weight",
        "norm.weight",
        "stage1_conv_embed.0.bias",
    }


def test_norms_of_a_pvtv2_are_its_own() -> None:
    keys = ("norm1.weight", "norm4.weight", "block1.0.norm1.weight")
    assert renamed(*keys) == set(keys)
    assert renamed("norm.weight", "block1.0.norm1.weight") == {"norm.weight", "block1.0.norm1.weight"}


def test_both_are_matched_by_backbone_and_head_and_nothing_else() -> None:
    assert BOTH.matches([W_MSA, *NECK])
    assert BOTH.matches([W_MSA, *NECK, "auxiliary_head.conv_seg.weight"])
    assert not BOTH.matches(NECK)
    assert not BOTH.matches([W_MSA])
    assert not BOTH.matches([W_MSA, *NECK, "rpn_head.rpn_conv.weight"])
    assert not BOTH.matches([W_MSA.removeprefix("backbone."), *NECK])
    assert not dense_format(SWIN, RETINANET).matches([W_MSA, *NECK])


def test_candidates_are_the_formats_that_match() -> None:
    keys = [W_MSA, *NECK]
    assert [one.name for one in candidates(keys)] == [BOTH.name]
    assert [one.name for one in FORMATS if one.matches(keys)] == [BOTH.name]
    assert list(candidates(NECK)) == []
    assert list(candidates([*keys, "rpn_head.rpn_conv.weight"])) == []


def test_a_format_for_each_backbone_and_head() -> None:
    assert len({one.name for one in FORMATS}) == len(FORMATS) == 3 * len(BACKBONES)
    assert "swin by its authors' names" not in {one.name for one in OWN}  # the official Swin backbone's


def test_names_keep_their_prefix_and_those_of_training_are_dropped() -> None:
    keys = [W_MSA, *NECK, "auxiliary_head.conv_seg.weight", "backbone.norm3.weight"]
    found = rename(BOTH.key_map(keys), keys)
    assert set(found.origins) == {"backbone.layers.0.blocks.0.attn.qkv.weight", "backbone.norm3.weight", *NECK}
    assert found.dropped == ("auxiliary_head.conv_seg.weight",)
    assert found.unknown == ()


def trunk(**changes: Any) -> Told:
    fields = {"depths": (1, 1), "image_size": (224, 224), "num_classes": 9, "feature_stages": (3,)}
    assumed = ("no file tells the input: 224x224", "no file tells whose backbone this is", "no file tells the heads: 1")
    told = Told(fields, DataConfig(), assumed=assumed, filled={r"norm\.bias": 0.0})
    return replace(told, **changes)


def read(told: Told, beside: Beside) -> Told:
    inner = replace(SWIN, read=lambda _state, _beside: told)
    return dense_format(inner, SEMANTIC_FPN).read({}, beside)


def test_a_head_tells_input_and_classes_in_the_place_of_the_backbone() -> None:
    told = read(trunk(), Beside({"crop_size": [512, 640]}, labels=("a",), palette=((1, 2, 3), (4, 5, 6))))
    assert told.fields == {"depths": (1, 1), "palette": (1, 2, 3, 4, 5, 6)}
    assert (told.input_size, told.input_assumed, told.labels) == ((512, 640), "", ("a",))
    assert told.assumed == ("no file tells the heads: 1",)
    assert told.filled == {r"backbone\.norm\.bias": 0.0}
    assert (told.data, told.source) == (models.WHOLE_SCENE, "")


def test_a_classifiers_way_with_small_maps_is_none_of_a_segmenters() -> None:
    for theirs, ours in (("joint", "pad-and-shift"), ("shrink", "shrink"), ("pad", "pad")):
        assert read(trunk(fields={"small_maps": theirs}), Beside()).fields["small_maps"] == ours


def test_the_backbone_is_read_without_its_prefix() -> None:
    seen: list[Beside] = []

    def reader(_state: Any, beside: Beside) -> Told:
        seen.append(beside)
        return trunk()

    beside = Beside(names=[W_MSA, *NECK], tensor=lambda name: torch.tensor(len(name)))
    dense_format(replace(SWIN, read=reader), SEMANTIC_FPN).read({}, beside)
    assert seen[0].names == {W_MSA.removeprefix("backbone.")}
    assert seen[0].tensor is not None
    assert seen[0].tensor("ab") == len("backbone.ab")


OWN_SWIN = next(one for one in OWN if one.family == "slide_swin")


def test_arguments_of_an_authors_backbone() -> None:
    backbone = {name: values[0] for name, values in FORK_ARGUMENTS.items()} | {"num_heads": [1, 2], "depths": [2, 2]}
    told = OWN_SWIN.read({}, Beside({"model": {"backbone": backbone}}))
    assert told.fields == {"heads": (1, 2), "depths": (2, 2)}
    assert told.source
    assert OWN_SWIN.read({}, Beside()).source == ""
    mask = {"layers.0.blocks.1.attn_mask": torch.empty(0)}
    assert OWN_SWIN.read(mask, Beside()).fields == {"small_maps": "shrink"}


@pytest.mark.parametrize("name", FORK_ARGUMENTS)
def test_an_argument_of_another_authors_backbone_is_refused(name: str) -> None:
    with pytest.raises(ShapeError, match=rf"^{name} "):
        OWN_SWIN.read({}, Beside({"model": {"backbone": {name: "another"}}}))
