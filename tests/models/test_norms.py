"""The epsilon of every LayerNorm: no shape tells it, and 1e-5 against 1e-6 changes too little for a golden output."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from slide_export.models import ALL, Family

SWIN = {r"patch_embed\.norm|layers\.\d+\.(blocks\.\d+\.norm[12]|downsample\.norm)|norm": 1e-5}
CSWIN = {r"stage1_conv_embed\.2|stage\d\.\d+\.norm[12]|merge\d\.norm|norm": 1e-5}
NAT = {r"patch_embed\.norm|levels\.\d\.(blocks\.\d+\.norm[12]|downsample\.norm)|norm": 1e-5}
PYRAMID = {r"patch_embed\d\.norm|block\d\.\d+\.attn\.norm": 1e-5, r"block\d\.\d+\.norm[12]": 1e-6}
PVT, PVT_V2 = {**PYRAMID, "norm": 1e-6}, {**PYRAMID, r"norm\d": 1e-6}
EPS = {
    "slide_swin": SWIN,
    "swin": SWIN,
    "im2col_swin": SWIN,
    "slide_cswin": CSWIN,
    "cswin": CSWIN,
    "slide_nat": NAT,
    "nat": NAT,
    "slide_pvt": PVT,
    "pvt": PVT,
    "slide_pvt_v2": PVT_V2,
    "pvt_v2": PVT_V2,
}
"""Family -> name of the module -> epsilon. Sources: those of the family's file; a slide form has its parent's."""


@pytest.mark.parametrize("family", ALL, ids=lambda family: family.name)
def test_epsilons_are_upstreams(family: Family) -> None:
    for config in family.variants.values():
        with torch.device("meta"):
            modules = family.build(replace(config, depths=(2, 2, 2, 2))).named_modules()
        found = {name: module.eps for name, module in modules if isinstance(module, nn.LayerNorm)}
        known = EPS[family.name].items()
        assert found == {name: eps for name in found for pattern, eps in known if re.fullmatch(pattern, name)}
        assert all(any(re.fullmatch(pattern, name) for name in found) for pattern, _ in known)
