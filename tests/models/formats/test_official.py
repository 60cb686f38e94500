"""A detector's or segmenter's Swin by its official names: the norms of its maps tell it apart and are renumbered."""

import pytest

from slide_export.models.formats import rename
from slide_export.models.formats.format import Beside
from slide_export.models.formats.official import is_swin_backbone, read_swin_backbone, swin_backbone_rules

from .swin_shapes import swin_shapes

MAPS = {f"norm{stage}.{part}" for stage in range(4) for part in ("weight", "bias")}
BODY = set(swin_shapes(head=False, norm=False))


def test_the_norms_of_maps_tell_a_backbone_from_a_classifier() -> None:
    assert is_swin_backbone(BODY | MAPS)
    assert is_swin_backbone(BODY | {"norm3.weight"})
    assert not is_swin_backbone(BODY)
    assert not is_swin_backbone(BODY | {"norm.weight"})
    assert not is_swin_backbone(BODY | MAPS | {"norm.weight"})  # a classifier's
    assert not is_swin_backbone(BODY | {"norm3.bias"})
    assert not is_swin_backbone({key for key in BODY if "downsample" not in key} | MAPS)  # timm merges a stage later
    assert not is_swin_backbone({key for key in BODY if "table" not in key} | MAPS)


@pytest.mark.parametrize("stages", [2, 4])
def test_the_norm_of_the_last_stage_is_the_classifiers(stages: int) -> None:
    keys = {f"layers.{stage}.blocks.0.attn.proj.weight" for stage in range(stages)} | MAPS
    renamed = rename(swin_backbone_rules(keys), keys).origins
    assert renamed["norm.weight"].keys == (f"norm{stages - 1}.weight",)
    assert renamed["norm0.bias"].keys == ("norm0.bias",)
    assert f"norm{stages - 1}.weight" not in renamed


def test_maps_with_a_norm_are_handed_on() -> None:
    state = swin_shapes(head=False, feature_norms=(0, 1, 2))
    told = read_swin_backbone(state, Beside(labels=("cat",)))
    assert told.fields["feature_norms"] == told.fields["feature_stages"] == (0, 1, 2, 3)
    assert (told.fields["resized_window"], told.fields["small_maps"]) == ("keep", "pad-and-shift")
    assert (told.labels, told.filled, told.guessed) == (("cat",), {}, {"image_size"})
    assert "ImageNet's mean" in told.images_assumed[0]


def test_a_last_stage_without_a_norm_hands_nothing_on() -> None:
    told = read_swin_backbone(swin_shapes(head=False, norm=False, feature_norms=(1,)), Beside())
    assert told.fields["feature_stages"] == (1,)
    assert set(told.filled.values()) == {0.0, 1.0}
