"""The shapes of a small Swin's tensors, by their names here: what a reader of a format is handed."""

from typing import Any

import torch
from torch import Tensor

from slide_export.models.swin import SwinConfig, SwinTransformer

BLOCKS = {"embed_dim": 8, "depths": (1, 1, 1, 1), "heads": (1, 1, 2, 4), "num_classes": 10}


def swin_shapes(*, head: bool = True, norm: bool = True, masks: bool = False, **changes: Any) -> dict[str, Tensor]:
    """Tensors without memory; of 224x224 and windows of 7 unless changed, so that all tables are alike.

    Args:
        head: whether the classifier is there.
        norm: whether the norm before it is there.
        masks: whether the masks of shifted windows, which tell the input, stand in the file.
    """
    with torch.device("meta"):
        state = SwinTransformer(SwinConfig(**{**BLOCKS, **changes})).state_dict()
    left_out = (*(() if head else ("head.",)), *(() if norm else ("norm.",)))
    endings = () if masks else (".attn_mask",)
    return {key: value for key, value in state.items() if not key.startswith(left_out) and not key.endswith(endings)}
