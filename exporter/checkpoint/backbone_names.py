"""Whether a state dict's names are those of a backbone beside parts of a detector or segmenter."""

import re
from collections.abc import Collection

BACKBONE = "backbone."
BESIDE = re.compile(
    r"neck|fpn|rpn\w*|roi\w*|bbox\w*|mask\w*|query\w*|\w*decode\w*|auxiliary_\w+|\w*pixel\w*|sem_seg\w*|panoptic\w*"
)
"""Parts of a detector or segmenter; anything else beside a backbone is a classifier's own head."""


def is_dense(names: Collection[str]) -> bool:
    """Whether names are those of both.

    Given   backbone.layers.0.blocks.0.norm1.weight, decode_head.conv_seg.weight     true
            backbone.layers.0.blocks.0.norm1.weight, head.weight                     false
    """
    return any(name.startswith(BACKBONE) for name in names) and beside_backbone(names)


def beside_backbone(names: Collection[str]) -> bool:
    """Whether any of some names is of such a part."""
    return any(BESIDE.fullmatch(name.partition(".")[0]) for name in names if not name.startswith(BACKBONE))
