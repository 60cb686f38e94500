"""Slide-CSwin T, S, B: CSwin with slide attention in its first stages.

The authors published results and no code (Slide-Transformer, CVPR 2023): CSwin's code path with the attention of stages
1 and 2 replaced, as in the released Slide-Swin (NUM_SLIDE_STAGES 2, KA 3), is our reading. Which stages, k and whether
LePE stays are options of the configuration; a slide block's key names are Slide-Swin's (`attn.qkv`, `attn.dep_conv`
...), LePE's is CSwin's `get_v`, below `attn`: no upstream file has any of these.
"""

from dataclasses import replace

from . import config_tree, cswin, slide_swin
from .family import Published, slides

SIZES = ("tiny", "small", "base")
VARIANTS = {f"slide_cswin_{size}": replace(cswin.VARIANTS[f"cswin_{size}"], slide_stages=(0, 1)) for size in SIZES}

PUBLISHED = {
    "slide_cswin_small": Published(35, 6.9, 84.0, slide_swin.RESULTS),
    "slide_cswin_base": Published(78, 15.0, 84.7, slide_swin.RESULTS),
}

FAMILY = replace(
    cswin.FAMILY,
    name="slide_cswin",
    variants=VARIANTS,
    resize=cswin.resize,
    matches=lambda state: cswin.is_cswin(state) and slides(state),
    read_config=lambda tree: config_tree.read_config(tree, "slide_cswin", cswin.CSwinConfig),
    read_data=slide_swin.read_data,  # the authors' own training code
    published=PUBLISHED,
)
