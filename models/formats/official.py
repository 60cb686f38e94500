"""Backbones with the official names whose function is not the official classifier's.

Source: SwinTransformer/Swin-Transformer-Object-Detection c7b20110, mmdet/models/backbones/swin_transformer.py, and the
segmenters' same file: every second block shifts, in a map of one window too; maps are padded to whole windows; `norm0`
to `norm3` norm what each stage hands on.
"""

import re
from collections.abc import Collection

from slide_export.models.data import DataConfig
from slide_export.models.family import State

from .format import Beside, Format, Told, untold_input
from .key_map import Rule, layer
from .shapes import feature_norms, has, last_norm, swin_fields


def swin_backbone_rules(keys: Collection[str]) -> tuple[Rule, ...]:
    """All names are the official ones, but the last stage's norm, which is the classifier's here."""
    last = max((int(m[1]) for key in keys if (m := re.match(r"layers\.(\d+)\.", key))), default=3)
    return (
        layer(f"norm{last}", "norm"),
        Rule("norm{s}.{x}", "norm{s}.{x}"),
        Rule("layers.{x}", "layers.{x}"),
        Rule("patch_embed.{x}", "patch_embed.{x}"),
    )


def is_swin_backbone(keys: Collection[str]) -> bool:
    """Whether these are the official names of a detector's or segmenter's Swin."""
    table = "layers.0.blocks.0.attn.relative_position_bias_table"
    norms = has(keys, r"norm\d\.weight$") and "norm.weight" not in keys
    return norms and table in keys and has(keys, r"layers\.0\.downsample\.")


def read_swin_backbone(state: State, beside: Beside) -> Told:
    """Read a backbone: only its maps are of use."""
    fields = swin_fields(state, {"resized_window": "keep", "small_maps": "pad-and-shift"}, beside)
    last = len(fields["depths"]) - 1
    whole = "norm.weight" in state
    fields["feature_norms"] = fields["feature_stages"] = (*feature_norms(state), *((last,) if whole else ()))
    guess = untold_input(fields["image_size"], "32 times the window")
    preprocessing = "no file tells the preprocessing: ImageNet's mean and standard deviation are assumed"
    filled = last_norm(state)
    return Told(fields, DataConfig(), beside.labels, assumed=(guess,), filled=filled, images_assumed=(preprocessing,))


FORMATS = (Format("official Swin backbone", "swin", is_swin_backbone, swin_backbone_rules, read_swin_backbone),)
