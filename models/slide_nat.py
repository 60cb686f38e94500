"""Slide-NAT Mini, T, S: NAT with slide attention in its first levels.

The authors published results and no code (Slide-Transformer, CVPR 2023): NAT's code path with the attention of levels 1
and 2 replaced, as in the released Slide-Swin (NUM_SLIDE_STAGES 2, KA 3), is our reading. Which levels and k are options
of the configuration; a slide block's key names are Slide-Swin's (`attn.qkv`, `attn.dep_conv` ...): no upstream file has
them.
"""

from dataclasses import replace

from . import config_tree, nat, slide_swin
from .family import Published, slides

SIZES = ("mini", "tiny", "small")
VARIANTS = {f"slide_nat_{size}": replace(nat.VARIANTS[f"nat_{size}"], slide_stages=(0, 1)) for size in SIZES}

PUBLISHED = {
    "slide_nat_tiny": Published(28, 4.3, 83.6, slide_swin.RESULTS),
    "slide_nat_small": Published(51, 7.8, 84.3, slide_swin.RESULTS),
}

FAMILY = replace(
    nat.FAMILY,
    name="slide_nat",
    variants=VARIANTS,
    resize=nat.resize,
    matches=lambda state: nat.is_nat(state) and slides(state),
    read_config=lambda tree: config_tree.read_config(tree, "slide_nat", nat.NatConfig),
    read_data=slide_swin.read_data,  # the authors' own training code
    published=PUBLISHED,
)
