"""The full-size models' keys, shapes and types equal upstream's, buffers included."""

from pathlib import Path

import pytest
import torch
from torch import nn

from slide_export.models import FAMILIES, boat_cswin, boat_swin, family_of

KEYS = Path(__file__).parent / "keys"
FILES = {
    "slide_swin_t": "slide_swin_tiny",
    "slide_swin_s": "slide_swin_small",
    "slide_swin_b": "slide_swin_base",
    "swin_tiny_w7_224": "swin_tiny",
    "swin_small_w7_224": "swin_small",
    "swin_base_w7_224": "swin_base",
    "cswin_tiny_224": "cswin_tiny",
    "cswin_small_224": "cswin_small",
    "cswin_base_224": "cswin_base",
    "cswin_large_224": "cswin_large",
    "cswin_base_384": "cswin_base_384",
    "cswin_large_384": "cswin_large_384",
    "nat_mini": "nat_mini",
    "nat_tiny": "nat_tiny",
    "nat_small": "nat_small",
    "nat_base": "nat_base",
    "swin_base_w12_384": "swin_base_384",
    "swin_large_w7_224": "swin_large",
    "pvt_tiny": "pvt_tiny",
    "pvt_small": "pvt_small",
    "pvt_medium": "pvt_medium",
    "pvt_large": "pvt_large",
    "pvt_v2_b0": "pvt_v2_b0",
    "pvt_v2_b1": "pvt_v2_b1",
    "pvt_v2_b2": "pvt_v2_b2",
    "pvt_v2_b2_li": "pvt_v2_b2_li",
    "pvt_v2_b3": "pvt_v2_b3",
    "pvt_v2_b4": "pvt_v2_b4",
    "pvt_v2_b5": "pvt_v2_b5",
    "twins_pcpvt_small": "twins_pcpvt_small",
    "twins_pcpvt_base": "twins_pcpvt_base",
    "twins_pcpvt_large": "twins_pcpvt_large",
    "twins_svt_small": "twins_svt_small",
    "twins_svt_base": "twins_svt_base",
    "twins_svt_large": "twins_svt_large",
    "dat_tiny_224": "dat_tiny",
    "dat_small_224": "dat_small",
    "dat_base_224": "dat_base",
    "dat_pp_tiny_224": "dat_pp_tiny",
    "dat_pp_small_224": "dat_pp_small",
    "dat_pp_base_224": "dat_pp_base",
    "mvitv2_t": "mvitv2_tiny",
    "mvitv2_s": "mvitv2_small",
    "mvitv2_b": "mvitv2_base",
    "mvitv2_l": "mvitv2_large",
    "cbam_resnet18": "cbam_resnet18",
    "cbam_resnet34": "cbam_resnet34",
    "cbam_resnet50": "cbam_resnet50",
    "cbam_resnet101": "cbam_resnet101",
    "boat_swin_t": "boat_swin_tiny",
    "boat_swin_s": "boat_swin_small",
    "boat_swin_b": "boat_swin_base",
    "boat_cswin_t": "boat_cswin_tiny",
    "boat_cswin_s": "boat_cswin_small",
    "boat_cswin_b": "boat_cswin_base",
    "mv_swin_t_384": "mv_swin_t",
    "nbnet_sidd_torchshapes": "nbnet",
}
UNLISTED = (boat_swin.FAMILY, boat_cswin.FAMILY)
"""Built, and not offered yet."""


def build(file: str) -> nn.Module:
    family = family_of(FILES[file], (*FAMILIES, *UNLISTED))
    with torch.device("meta"):
        return family.build(family.variants[FILES[file]])


def kind(module: nn.Module, key: str) -> str:
    parameters = dict(module.named_parameters())
    if key not in parameters:
        return "buffer"
    return "param" if parameters[key].requires_grad else "frozen_param"


@pytest.mark.parametrize("file", FILES)
def test_state_dict_is_upstreams(file: str) -> None:
    expected = {tuple(line.split("\t")) for line in (KEYS / f"{file}.tsv").read_text().splitlines() if line}
    module = build(file)
    ours = {
        (key, "x".join(map(str, value.shape)) or "scalar", str(value.dtype).removeprefix("torch."), kind(module, key))
        for key, value in module.state_dict().items()
    }
    assert ours == expected
