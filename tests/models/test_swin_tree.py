"""Upstream's configuration of a Swin: fields that are read, lacking, unknown, or of a model that is not exported."""

import copy
from typing import Any

import pytest

from slide_export.models.family import IncompleteError, ShapeError
from slide_export.models.swin import SwinConfig
from slide_export.models.swin_tree import UNMODELLED, WITHOUT_EFFECT, read_fields, refuse_unmodelled

NUMBERS = {"EMBED_DIM": 96, "DEPTHS": [2, 2, 6, 2], "NUM_HEADS": [3, 6, 12, 24], "WINDOW_SIZE": 7}


def tree(kind: str = "swin", *, slide: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    model = {"TYPE": kind, "NUM_CLASSES": 10, "SWIN": {**copy.deepcopy(NUMBERS), **changes}}
    return {"MODEL": model if slide is None else {**model, "SLIDE": slide}, "DATA": {"IMG_SIZE": [224, 192]}}


def test_the_fields_of_a_swin() -> None:
    assert read_fields(tree()) == {
        "embed_dim": 96,
        "depths": (2, 2, 6, 2),
        "heads": (3, 6, 12, 24),
        "window": (7, 7),
        "image_size": (224, 192),
        "num_classes": 10,
        "slide_stages": 0,
        "kernel_size": 3,
        "mlp_ratio": 4.0,
    }
    assert SwinConfig(**read_fields(tree(MLP_RATIO=2)))
    assert read_fields(tree(MLP_RATIO=2))["mlp_ratio"] == 2.0


def test_slide_stages_are_those_of_a_slide_swin_alone() -> None:
    slide = {"NUM_SLIDE_STAGES": 2, "KA": 5}
    found = read_fields(tree("slide_swin", slide=slide))
    assert (found["slide_stages"], found["kernel_size"]) == (2, 5)
    plain = read_fields(tree(slide=slide))
    assert (plain["slide_stages"], plain["kernel_size"]) == (0, 3)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_is_missing_is_named(name: str) -> None:
    for told in ({name: None}, {}):
        whole = tree(**told)
        if not told:
            del whole["MODEL"]["SWIN"][name]
        with pytest.raises(IncompleteError) as refused:
            read_fields(whole)
        assert refused.value.missing == (f"MODEL.SWIN.{name}",)


def test_everything_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(IncompleteError) as refused:
        read_fields({"MODEL": {"TYPE": "slide_swin", "SWIN": NUMBERS}})
    assert refused.value.missing == (
        "MODEL.NUM_CLASSES",
        "DATA.IMG_SIZE",
        "MODEL.SLIDE.NUM_SLIDE_STAGES",
        "MODEL.SLIDE.KA",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("PATCH_SIZE", 2), ("IN_CHANS", 1), ("QKV_BIAS", False), ("QK_SCALE", 0.1), ("APE", True), ("PATCH_NORM", False)],
)
def test_a_field_that_changes_the_function_has_its_only_value(name: str, value: Any) -> None:
    refuse_unmodelled(tree(**{name: UNMODELLED[name]}))
    with pytest.raises(ShapeError, match=rf"MODEL\.SWIN\.{name} "):
        refuse_unmodelled(tree(**{name: value}))


def test_fields_that_upstream_does_not_read_may_say_anything() -> None:
    refuse_unmodelled(tree(**dict.fromkeys(WITHOUT_EFFECT, "anything")))
    with pytest.raises(ShapeError, match=r"MODEL\.SWIN\.DILATION 2, which is not known here"):
        refuse_unmodelled(tree(DILATION=2))
    with pytest.raises(ShapeError, match=r"MODEL\.SLIDE\.KB 3"):
        refuse_unmodelled(tree("slide_swin", slide={"KA": 3, "KB": 3}))


@pytest.mark.parametrize("kind", ["swinv2", "swin_mlp", "Swin"])
def test_a_model_of_another_type_is_refused(kind: str) -> None:
    with pytest.raises(ShapeError, match=rf"MODEL\.TYPE '{kind}', where swin or slide_swin is expected"):
        refuse_unmodelled(tree(kind))
    refuse_unmodelled({"MODEL": {"TYPE": kind}})  # says nothing of a Swin


@pytest.mark.parametrize(
    ("name", "value"), [("EMBED_DIM", 96.5), ("DEPTHS", 2), ("NUM_HEADS", [3, "6"]), ("WINDOW_SIZE", [7, 7])]
)
def test_a_number_of_another_type_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ShapeError, match=rf"MODEL\.SWIN\.{name}"):
        read_fields(tree(**{name: value}))
