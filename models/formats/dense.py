"""Segmenters and detectors: each library's backbone, named as it is, under `backbone.`, with each head beside it.

Given:  {"backbone.stages.0.blocks.0.attn.w_msa.qkv.weight": ..., "decode_head.psp_modules.0.1.conv.weight": ...}
Result: the format "OpenMMLab Swin with upernet", of the family `swin_upernet`: the backbone's key map with the prefix
        before both sides, the head's names as they are, `auxiliary_head.` dropped

Source: open-mmlab/mmsegmentation 1.2.2, models/segmentors/encoder_decoder.py; mmdetection 3.3.0,
models/detectors/single_stage.py; the authors' repositories on mmseg 0 and mmdet 2 have the same names.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from torch import Tensor

from slide_export.models import dense
from slide_export.models.family import Family, State
from slide_export.models.heads import HEADS, Head

from . import openmmlab
from .dense_config import part, read_head, read_scenes
from .format import Beside, Format, Told, expect
from .key_map import Rule
from .official import FORMATS as OFFICIAL
from .openmmlab_images import WHERE
from .shapes import LAST_NORM

PREFIX = dense.BACKBONE
AUXILIARY = "auxiliary_head."  # of training alone
FORK_ARGUMENTS: Mapping[str, tuple[Any, ...]] = {
    "patch_size": (4,),
    "in_chans": (3,),
    "ape": (False,),
    "patch_norm": (True,),
    "qkv_bias": (True,),
    "qk_scale": (None,),
}
"""Arguments of the authors' backbones that change the function -> what is modelled."""


OF_CLASSIFIERS = ("image_size", "num_classes", "feature_stages")
"""Fields that a backbone under a head has not: it takes any input, and the head tells its classes and its maps."""
GUESSES = ("no file tells the input", "no file tells whose backbone")  # of a backbone alone


def without_token(table: Tensor) -> Tensor:
    """Position embeddings without the class token's row, which no segmenter reads: [1, 1 + N, C] -> [1, N, C].

    Source: whai362/PVT 57e2dfa, detection/pvt.py, _get_pos_embed: `pos_embed[:, 1:]` in the last stage.
    """
    rows = table.shape[1]
    token = math.isqrt(rows) ** 2 != rows and math.isqrt(rows - 1) ** 2 == rows - 1
    return table[:, 1:] if token else table


def by_own_names(keys: Collection[str]) -> tuple[Rule, ...]:
    """The authors' names, but for norms of maps: those of the last stage's are the classifier's here.

    `norm0` ... `norm3` (Slide-Swin, NAT) or `norm1` ... `norm4` (CSwin); PVTv2's own `norm1` ... `norm4` stay.
    """
    norms = sorted(int(m[1]) for key in keys if (m := re.fullmatch(r"norm(\d+)\.weight", key)))
    rules: tuple[Rule, ...] = (Rule("pos_embed{s}", {"pos_embed{s}": without_token}), Rule("{x}", "{x}"))
    if not norms or any(key.startswith("block1.") for key in keys):
        return rules
    counted = "s-1" if any(key.startswith("stage1_conv_embed.") for key in keys) else "s"
    return (
        Rule(f"norm{norms[-1]}.{{x}}", "norm.{x}"),
        Rule("norm{s}.{x}", f"norm{{{counted}}}.{{x}}"),
        *rules,
    )


def _own_format(family: Family) -> Format:
    """A backbone with its authors' names."""

    def matches(keys: Collection[str]) -> bool:
        """Whether these are the family's names."""
        return family.matches(cast(State, dict.fromkeys(keys)))

    def read(state: State, beside: Beside) -> Told:
        """Read a backbone, whose shapes tell all but its heads."""
        backbone = part(beside.config, "backbone")
        expect(WHERE, backbone, FORK_ARGUMENTS)
        names = {"heads": "num_heads", "depths": "depths"}
        fields: dict[str, Any] = {ours: tuple(backbone[name]) for ours, name in names.items() if name in backbone}
        if any(key.endswith(".attn_mask") for key in state):  # a classifier's blocks keep theirs
            fields["small_maps"] = "shrink"
        return Told(fields, dense.WHOLE_SCENE, source=WHERE if backbone else "", filled=LAST_NORM)

    return Format(f"{family.name} by its authors' names", family.name, matches, by_own_names, read)


def dense_format(inner: Format, head: Head) -> Format:
    """Make the format of a backbone's format with a head."""

    def matches(keys: Collection[str]) -> bool:
        """Whether the names are of both and of nothing else."""
        own, others = _parted(keys)
        return bool(own) and head.matches(others) and inner.matches(own) and not _strange(others, head)

    def rules(keys: Collection[str]) -> tuple[Rule, ...]:
        """The key map of both."""
        own, _ = _parted(keys)
        return (
            *(_prefixed(rule) for rule in inner.key_map(own)),
            *(Rule(f"{prefix}{{x}}", f"{prefix}{{x}}") for prefix in head.prefixes),
            Rule(f"{AUXILIARY}{{x}}"),
        )

    def read(state: State, beside: Beside) -> Told:
        """What files tell of both."""
        trunk = inner.read(dense.inside(state), _inside(beside))
        own, scenes = read_head(beside.config, head), read_scenes(beside.config)
        fields = {name: value for name, value in trunk.fields.items() if name not in OF_CLASSIFIERS}
        if fields.get("small_maps") == "joint":  # a classifier's: nobody told whose backbone it is
            fields["small_maps"] = "pad-and-shift"
        colours = {"palette": tuple(channel for colour in beside.palette for channel in colour)}
        guesses = tuple(one for one in trunk.assumed if not one.startswith(GUESSES))
        return replace(
            trunk,
            fields={**fields, **own.fields, **colours},
            data=scenes.data,
            labels=beside.labels,
            source=WHERE if part(beside.config, "backbone") else "",
            notes=own.notes,
            assumed=(*guesses, *scenes.assumed),
            filled={re.escape(PREFIX) + pattern: number for pattern, number in trunk.filled.items()},
            images=scenes.told,
            images_assumed=scenes.unsaid,
            input_size=own.input_size,
            input_assumed=own.input_assumed,
        )

    return Format(f"{inner.name} with {head.name}", dense.family_name(inner.family, head.name), matches, rules, read)


def _inside(beside: Beside) -> Beside:
    """What lies beside the backbone alone: its names and its tensors without the prefix."""
    own, _ = _parted(beside.names)
    tensor = beside.tensor
    return replace(beside, names=own, tensor=None if tensor is None else lambda name: tensor(PREFIX + name))


def _parted(keys: Collection[str]) -> tuple[set[str], set[str]]:
    """The backbone's names, without the prefix, and the others but for those of training."""
    own = {key.removeprefix(PREFIX) for key in keys if key.startswith(PREFIX)}
    return own, {key for key in keys if not key.startswith((PREFIX, AUXILIARY))}


def _strange(names: Collection[str], head: Head) -> bool:
    return any(not name.startswith(head.prefixes) for name in names)


def _prefixed(rule: Rule) -> Rule:
    """A rule of the backbone with the prefix before both sides."""
    return Rule(
        tuple(PREFIX + name for name in rule.names),
        {PREFIX + target: make for target, make in rule.makers.items()},
    )


OWN: tuple[Format, ...] = tuple(_own_format(family) for family in dense.BACKBONES if family.name != "swin")
BACKBONES: tuple[Format, ...] = (
    *(one for one in openmmlab.FORMATS if one.family in {family.name for family in dense.BACKBONES}),
    *OWN,  # before the official Swin backbone, whose names Slide-Swin has too
    *OFFICIAL,
)
PAIRS: tuple[tuple[Format, Head, Format], ...] = tuple(
    (inner, head, dense_format(inner, head)) for head in HEADS for inner in BACKBONES
)
"""A backbone's format, a head, and the format of both."""
FORMATS: tuple[Format, ...] = tuple(both for _, _, both in PAIRS)


def candidates(keys: Collection[str]) -> Iterator[Format]:
    """The formats whose names these are, told apart once for all backbones."""
    own, others = _parted(keys)
    heads = [head for head in HEADS if own and head.matches(others) and not _strange(others, head)]
    yield from (both for inner, head, both in PAIRS if head in heads and inner.matches(own))
