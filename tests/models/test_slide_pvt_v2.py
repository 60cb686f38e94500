"""Slide-PVTv2: the counts that its configuration was recovered by."""

import pytest
import torch

from slide_export.checkpoint.inspect import count_macs
from slide_export.inference.fuse import inference_form
from slide_export.models import FAMILIES, slide_pvt_v2
from slide_export.models.pvt_v2 import PyramidVisionTransformerV2


def build(name: str) -> PyramidVisionTransformerV2:
    with torch.device("meta"):
        return PyramidVisionTransformerV2(slide_pvt_v2.VARIANTS[name]).eval()


@pytest.mark.parametrize(("name", "parameters_m"), [("slide_pvt_v2_b1", 13.0), ("slide_pvt_v2_b2", 23.6)])
def test_parameters_are_the_published_but_for_b2(name: str, parameters_m: float) -> None:
    count = sum(value.numel() for value in build(name).parameters())
    assert round(count / 1e6, 1) == parameters_m
    assert (slide_pvt_v2.PUBLISHED[name].parameters_m == parameters_m) == (name == "slide_pvt_v2_b1")


@pytest.mark.parametrize(
    ("name", "flops_g"),
    [("slide_pvt_v2_b1", 2.2), ("slide_pvt_v2_b2", 4.2), ("slide_pvt_v2_b3", 7.1), ("slide_pvt_v2_b4", 10.3)],
)
def test_multiply_adds_once_fused_are_the_published(name: str, flops_g: float) -> None:
    fused = inference_form(build(name))
    assert count_macs(fused, (224, 224)) / 1e9 == pytest.approx(flops_g, abs=0.06)


def test_it_is_told_from_pvt_v2() -> None:
    state = build("slide_pvt_v2_b1").state_dict()
    assert [family.name for family in FAMILIES if family.matches(state)] == ["slide_pvt_v2"]
