"""The epsilon of every LayerNorm: no shape tells it, and 1e-5 against 1e-6 changes too little for a golden output."""

import re
from dataclasses import replace
from typing import Any

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
    "twins": {r"patch_embeds\.\d\.norm|blocks\.\d\.\d+\.attn\.norm": 1e-5, r"blocks\.\d\.\d+\.norm[12]|norm": 1e-6},
    "dat": {
        r"patch_proj\.\d\.norm|stages\.\d\.layer_norms\.\d+\.norm|down_projs\.\d\.1\.norm|cls_norm\.norm": 1e-5,
        r"stages\.\d\.attns\.\d+\.conv_offset\.1\.norm": 1e-5,
    },
    "mvitv2": {r"blocks\.\d+\.(norm[12]|attn\.norm_[qkv])|norm": 1e-6},
    "cbam": {},
    "gam": {},
    "boat_swin": {r"patch_embed\.norm|layers\.\d\.(blocks\.\d+\.norm[1-4]|downsample\.norm)|norm": 1e-5},
    "boat_cswin": {r"stage1_conv_embed\.2|stage\d\.\d+\.norm[1-4]|merge\d\.norm|norm": 1e-5},
    "mv_swin_t": {
        r"patch_embed_\d\.norm|layers\.\d\.(blocks\.\d\.norm[12]_\d|downsample_\d\.norm)": 1e-5,
        r"layers_fused\.\d\.(blocks\.\d\.norm[12]|downsample\.norm)|norm": 1e-5,
    },
    "nbnet": {},
}
"""Family -> name of the module -> epsilon. Sources: those of the family's file; a slide form has its parent's."""


def shallow(config: Any) -> Any:
    """The model with two blocks a stage, where its depth is a number of blocks a stage."""
    depths = getattr(config, "depths", None)
    return (
        config
        if depths is None or config.__class__.__name__ == "DatConfig"
        else replace(config, depths=(2,) * len(depths))
    )


@pytest.mark.parametrize("family", ALL, ids=lambda family: family.name)
def test_epsilons_are_upstreams(family: Family) -> None:
    for config in family.variants.values():
        with torch.device("meta"):
            modules = family.build(shallow(config)).named_modules()
        found = {name: module.eps for name, module in modules if isinstance(module, nn.LayerNorm)}
        known = EPS[family.name].items()
        assert found == {name: eps for name in found for pattern, eps in known if re.fullmatch(pattern, name)}
        assert all(any(re.fullmatch(pattern, name) for name in found) for pattern, _ in known)
