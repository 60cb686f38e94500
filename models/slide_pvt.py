"""Slide-PVT T, S, M: PVT with slide attention in its first stages.

The authors published results and no code (Slide-Transformer, CVPR 2023): PVT's code path with the attention of stages 1
and 2 replaced, k = 3 and PVT's heads, is what fits their parameters and FLOPs; stages 3 and 4 keep attention to a
reduced map. Which stages, k and the class token (else the mean of the normed map) are options of the configuration. A
slide block's key names are Slide-Swin's (`attn.qkv`, `attn.dep_conv` ...), the others PVT's: no upstream file has them.
"""

from dataclasses import replace

from . import config_tree, pvt, slide_swin
from .family import Published, slides

SIZES = ("tiny", "small", "medium")
VARIANTS = {f"slide_pvt_{size}": replace(pvt.VARIANTS[f"pvt_{size}"], slide_stages=(0, 1)) for size in SIZES}

PUBLISHED = {
    "slide_pvt_tiny": Published(12.2, 2.0, 78.0, slide_swin.RESULTS),
    "slide_pvt_small": Published(22.7, 4.0, 81.7, slide_swin.RESULTS),
}

FAMILY = replace(
    pvt.FAMILY,
    name="slide_pvt",
    variants=VARIANTS,
    matches=lambda state: pvt.is_pvt(state) and slides(state),
    resize=pvt.resize,
    read_config=lambda tree: config_tree.read_config(tree, "slide_pvt", pvt.PvtConfig),
    read_data=slide_swin.read_data,
    published=PUBLISHED,
)
