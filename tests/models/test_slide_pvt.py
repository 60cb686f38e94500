"""Slide-PVT: the counts that its configuration was recovered by, and its options."""

from dataclasses import replace

import pytest
import torch

from slide_export.checkpoint.inspect import count_macs
from slide_export.inference.fuse import inference_form
from slide_export.models import FAMILIES, pvt, slide_pvt
from slide_export.models.pvt import PyramidVisionTransformer


def build(name: str) -> PyramidVisionTransformer:
    with torch.device("meta"):
        return PyramidVisionTransformer(slide_pvt.VARIANTS[name]).eval()


@pytest.mark.parametrize(("name", "parameters_m"), [("slide_pvt_tiny", 12.2), ("slide_pvt_small", 22.7)])
def test_parameters_are_the_published(name: str, parameters_m: float) -> None:
    count = sum(value.numel() for value in build(name).parameters())
    assert round(count / 1e6, 1) == slide_pvt.PUBLISHED[name].parameters_m == parameters_m


@pytest.mark.parametrize(
    ("name", "flops_g"), [("slide_pvt_tiny", 2.0), ("slide_pvt_small", 4.0), ("slide_pvt_medium", 6.8)]
)
def test_multiply_adds_once_fused_are_the_published(name: str, flops_g: float) -> None:
    fused = inference_form(build(name))
    assert round(count_macs(fused, (224, 224)) / 1e9, 1) == flops_g


def test_it_is_told_from_pvt() -> None:
    state = build("slide_pvt_tiny").state_dict()
    assert [family.name for family in FAMILIES if family.matches(state)] == ["slide_pvt"]


def test_any_stage_and_kernel_can_slide() -> None:
    config = replace(slide_pvt.VARIANTS["slide_pvt_tiny"], slide_stages=(1, 3), kernel_size=5, class_token=False)
    with torch.device("meta"):
        state = PyramidVisionTransformer(config).state_dict()
    assert state["block4.0.attn.relative_position_bias_table"].shape == (1, 8, 1, 25, 1, 1)
    assert "cls_token" not in state
    assert pvt.infer(state) == config
