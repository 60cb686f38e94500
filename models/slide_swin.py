"""Slide-Swin T, S, B: Swin with slide attention in its first stages.

Source: LeapLabTHU/Slide-Transformer 6b1e184, slide_transformer/models/slide_swin.py and cfgs/slide_swin_{t,s,b}.yaml.
The yaml files say window 56, which makes stages 3 and 4 attend globally; the published FLOPs fit window 7. Both occur:
a checkpoint's table shapes tell which, and a variant here has the released window, 56.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from . import swin
from .data import DataConfig
from .data_tree import data_from_tree
from .family import Published, State, slides


def matches(state: State) -> bool:
    """Whether the keys are those of a Swin with slide attention."""
    return swin.is_swin(state) and slides(state)


def read_data(tree: Mapping[str, Any] | None, _config: swin.SwinConfig) -> DataConfig:
    """Slide-Transformer's preprocessing: both sides to 256/224 of the input, bicubic, centre crop.

    Source: slide_transformer/data/build.py, build_transform: `Resize((size, size))`, so the aspect is not kept.
    """
    return data_from_tree(tree, DataConfig(keep_aspect=False))


SIZES = ("tiny", "small", "base")
VARIANTS = {
    f"slide_swin_{size}": replace(swin.VARIANTS[f"swin_{size}"], window=(56, 56), slide_stages=2) for size in SIZES
}

RESULTS = "LeapLabTHU/Slide-Transformer 6b1e184, README.md, table of results"
PUBLISHED = {
    "slide_swin_tiny": Published(29, 4.6, 82.3, RESULTS),
    "slide_swin_small": Published(51, 8.9, 83.7, RESULTS),
    "slide_swin_base": Published(89, 15.5, 84.2, RESULTS),
}

FAMILY = replace(
    swin.FAMILY,
    name="slide_swin",
    variants=VARIANTS,
    resize=swin.resize,
    matches=matches,
    read_data=read_data,
    published=PUBLISHED,
)
