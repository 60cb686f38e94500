"""A backbone's configuration, tensors and values as a segmenter or detector has them."""

from dataclasses import fields

import pytest
import torch

from slide_export.models import cswin, pvt, swin
from slide_export.models.dense import (
    AS_BACKBONE,
    BACKBONES,
    CLASSES,
    DENSE,
    DenseModel,
    as_backbone,
    config_kind,
    giving_maps,
    inside,
    maps_of,
    norms_of,
    outside,
)
from slide_export.models.heads import HEADS, UPERNET


def test_every_backbone_stands_with_every_head() -> None:
    assert len({family.name for family in DENSE}) == len(DENSE) == len(BACKBONES) * len(HEADS)
    assert {family.backbone for family in DENSE} == {family.name for family in BACKBONES}


def test_tensors_are_parted_by_their_prefix() -> None:
    state = {"backbone.norm.weight": torch.ones(1), "neck.backbone.weight": torch.zeros(1)}
    assert list(inside(state)) == ["norm.weight"]
    assert list(outside(state)) == ["neck.backbone.weight"]


@pytest.mark.parametrize(
    ("keys", "norms"),
    [
        ([], ()),
        (["norm.weight"], (3,)),
        (["norm0.weight", "norm2.weight", "norm.weight"], (0, 2, 3)),
        (["norm3.weight"], ()),  # the last stage's is the classifier's
        (["norm1.bias"], ()),
    ],
)
def test_norms_of_maps_are_told_by_their_keys(keys: list[str], norms: tuple[int, ...]) -> None:
    assert norms_of(dict.fromkeys(keys, torch.ones(1)), 4) == norms


def test_a_backbone_does_otherwise_than_a_classifier() -> None:
    config = as_backbone(swin.VARIANTS["swin_tiny"], (0, 3))
    assert (config.resized_window, config.small_maps, config.feature_norms) == ("keep", "pad-and-shift", (0, 3))
    assert as_backbone(pvt.VARIANTS["pvt_tiny"], ()).class_token is False
    assert as_backbone(cswin.VARIANTS["cswin_tiny"], ()).padded_stripes is True
    assert not {"resized_window", "small_maps"} & {field.name for field in fields(pvt.VARIANTS["pvt_tiny"])}
    assert set(AS_BACKBONE) == {"resized_window", "small_maps", "class_token", "padded_stripes"}


def test_widths_are_told_or_double() -> None:
    assert maps_of(swin.VARIANTS["swin_tiny"]).widths == (96, 192, 384, 768)
    assert maps_of(pvt.VARIANTS["pvt_tiny"]).widths == (64, 128, 320, 512)
    assert maps_of(swin.VARIANTS["swin_tiny"]).sizes == ((56, 56), (28, 28), (14, 14), (7, 7))


def test_a_configuration_of_both_has_the_fields_of_both() -> None:
    kind = config_kind(swin.SwinConfig, UPERNET)  # type: ignore[arg-type]
    names = {field.name for field in fields(kind)}
    assert names == {field.name for field in (*fields(swin.SwinConfig), *fields(UPERNET.fields))}
    assert kind is config_kind(swin.SwinConfig, UPERNET)  # type: ignore[arg-type]


def test_variants_have_ade20ks_classes_and_the_windows_of_detectors() -> None:
    families = {family.name: family for family in DENSE}
    slide = families["slide_swin_upernet"].variants["slide_swin_tiny_upernet"]
    assert (slide.num_classes, slide.window) == (CLASSES, (7, 7))
    assert slide.feature_norms == (0, 1, 2, 3)
    assert "window" not in {value.name for value in families["swin_upernet"].values}
    assert "small_maps" in {value.name for value in families["swin_upernet"].values}
    assert "small_maps" not in {value.name for value in families["pvt_upernet"].values}


def deciding() -> DenseModel:
    """A model that has scores already: its threshold is all that decides."""
    made = DenseModel.__new__(DenseModel)
    torch.nn.Module.__init__(made)
    made.config = UPERNET.fields(threshold=0.25)
    return made


@pytest.mark.parametrize(("logit", "there"), [(-1.0986, 1), (-1.0987, 0), (0.0, 1)])
def test_a_single_class_is_there_above_its_threshold(logit: float, there: int) -> None:
    """log(0.25 / 0.75) = -1.09861."""
    made = deciding()
    scores = torch.full((1, 1, 2, 2), logit)
    assert made.decided(scores).unique().tolist() == [there]
    assert made.margins(scores)[0, 0, 0].item() == pytest.approx(abs(logit + 1.098612), abs=1e-5)


def test_the_best_of_several_classes_wins_by_what_it_is_above_the_next() -> None:
    made = deciding()
    scores = torch.tensor([1.0, 5.0, 3.0]).reshape(1, 3, 1, 1)
    assert made.decided(scores).tolist() == [[[1]]]
    assert made.margins(scores).tolist() == [[[2.0]]]


def test_a_call_of_a_backbone_gives_its_maps() -> None:
    kind = giving_maps(swin.SwinTransformer)
    assert issubclass(kind, swin.SwinTransformer)
    assert kind.forward is swin.SwinTransformer.features
    assert kind is giving_maps(swin.SwinTransformer)
