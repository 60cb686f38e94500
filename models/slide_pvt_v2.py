"""Slide-PVTv2 B1 to B4: PVTv2 with slide attention in its first stages.

The authors published results and no code (Slide-Transformer, CVPR 2023): PVTv2's code path with the attention of stages
1 and 2 replaced, k = 3 and PVTv2's heads, is what fits every published figure but the parameters of B2, 22.8 M, which
are Slide-PVT-S's (23.6 M here). Which stages and k are options of the configuration. A slide block's key names are
Slide-Swin's (`attn.qkv`, `attn.dep_conv` ...), the others PVTv2's: no upstream file has them.
"""

from dataclasses import replace

from . import config_tree, pvt_v2, slide_swin
from .family import Published, slides

SIZES = ("b1", "b2", "b3", "b4")
VARIANTS = {f"slide_pvt_v2_{size}": replace(pvt_v2.VARIANTS[f"pvt_v2_{size}"], slide_stages=(0, 1)) for size in SIZES}

PUBLISHED = {
    "slide_pvt_v2_b1": Published(13.0, 2.2, 79.5, slide_swin.RESULTS),
    "slide_pvt_v2_b2": Published(22.8, 4.2, 82.7, slide_swin.RESULTS),
}

FAMILY = replace(
    pvt_v2.FAMILY,
    name="slide_pvt_v2",
    variants=VARIANTS,
    matches=lambda state: pvt_v2.is_pvt_v2(state) and slides(state),
    resize=pvt_v2.resize,
    read_config=lambda tree: config_tree.read_config(tree, "slide_pvt_v2", pvt_v2.PvtV2Config),
    read_data=slide_swin.read_data,
    published=PUBLISHED,
)
