"""Upstream's configuration of an MViTv2: which fields are read, change nothing, or are refused.

    {"MVIT": {"EMBED_DIM": 96, "DEPTH": 10, "HEAD_MUL": [[1, 2], ...], ...}, "DATA": {"TRAIN_CROP_SIZE": 224}}

Source: facebookresearch/mvit dfbdfdf, mvit/config/defaults.py and mvit/models/mvit_model.py.
"""

from collections.abc import Mapping
from typing import Any

from . import config_tree
from .family import IncompleteError, ShapeError
from .typed_value import typed

POOLED = 2  # stride of the queries where a stage starts
NEEDED = ("DEPTH", "EMBED_DIM", "NUM_HEADS", "DIM_MUL", "HEAD_MUL", "POOL_Q_STRIDE", "POOL_KV_STRIDE_ADAPTIVE")
MODELLED = {
    "MODE": "conv",
    "POOL_FIRST": False,
    "CLS_EMBED_ON": False,
    "USE_ABS_POS": False,
    "REL_POS_SPATIAL": True,
    "QKV_BIAS": True,
    "PATCH_KERNEL": [7, 7],
    "PATCH_STRIDE": [4, 4],
    "PATCH_PADDING": [3, 3],
    "POOL_KVQ_KERNEL": [3, 3],
}
"""What upstream's configuration could say otherwise; no published model does."""

WITHOUT_EFFECT = (
    "MLP_RATIO",
    "DIM_MUL_IN_ATT",
    "RESIDUAL_POOLING",
    "DROPPATH_RATE",
    "POOL_KV_STRIDE",
    "ZERO_DECAY_POS_CLS",
    "REL_POS_ZERO_INIT",
)
"""Other fields under MVIT: read where they are told, or of the training alone."""


def read_fields(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Read the fields of an `MvitV2Config`.

    Raises:
        IncompleteError: a field is missing.
        ShapeError: the tree asks for something that is not modelled.
    """
    mvit = config_tree.branch(tree, "MVIT")
    data, model = config_tree.branch(tree, "DATA"), config_tree.branch(tree, "MODEL")
    missing = [f"MVIT.{name}" for name in NEEDED if name not in mvit]
    missing += ["DATA.TRAIN_CROP_SIZE"] * ("TRAIN_CROP_SIZE" not in data)
    missing += ["MODEL.NUM_CLASSES"] * ("NUM_CLASSES" not in model)
    if missing:
        raise IncompleteError(missing)
    config_tree.refuse_unknown(mvit, {*NEEDED, *MODELLED, *WITHOUT_EFFECT}, "MVIT")
    with config_tree.reading("MVIT"):
        _refuse_unmodelled(mvit)
        return _fields(mvit, data, model)


def _fields(mvit: Mapping[str, Any], data: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    def told(name: str, kind: Any) -> Any:
        """A field of the tree in its own type."""
        return typed(mvit[name], kind, f"MVIT.{name}")

    fields = {
        "embed_dim": told("EMBED_DIM", int),
        "depth": told("DEPTH", int),
        "heads": told("NUM_HEADS", int),
        "stage_starts": tuple(int(block) for block, _ in mvit["HEAD_MUL"]),
        "kv_stride": told("POOL_KV_STRIDE_ADAPTIVE", tuple[int, ...])[0],
        "image_size": config_tree.sides(data["TRAIN_CROP_SIZE"], "DATA.TRAIN_CROP_SIZE"),
        "num_classes": typed(model["NUM_CLASSES"], int, "MODEL.NUM_CLASSES"),
    }
    optional = {
        "widens_in_attention": ("DIM_MUL_IN_ATT", bool),
        "mlp_ratio": ("MLP_RATIO", float),
        "residual_pooling": ("RESIDUAL_POOLING", bool),
    }
    return fields | {field: told(name, kind) for field, (name, kind) in optional.items() if name in mvit}


def _refuse_unmodelled(mvit: Mapping[str, Any]) -> None:
    """Refuse what is not modelled, by name.

    Raises:
        ShapeError: the configuration asks for it.
    """
    for name, value in MODELLED.items():
        found = mvit.get(name, value)
        found = list(found) if isinstance(found, tuple) else found
        if found != value:
            raise ShapeError(f"MVIT.{name} {found!r}, where {value!r} alone is modelled")
    starts = sorted(int(block) for block, _ in mvit["HEAD_MUL"])
    doubles = all(float(factor) == 2 for _, factor in (*mvit["HEAD_MUL"], *mvit["DIM_MUL"]))
    strides = {int(block): (int(rows), int(cols)) for block, rows, cols in mvit["POOL_Q_STRIDE"]}
    pools = sorted(block for block, stride in strides.items() if stride != (1, 1))
    halves = all(strides[block] == (POOLED, POOLED) for block in pools)
    widens = sorted(int(block) for block, _ in mvit["DIM_MUL"])
    every = len(strides) == mvit["DEPTH"] and sorted(strides) == list(range(len(strides)))
    if not (doubles and halves and every and starts == pools == widens) or len(set(_pair(mvit))) > 1:
        raise ShapeError(
            "MVIT.HEAD_MUL, DIM_MUL and POOL_Q_STRIDE, where heads and widths double and queries halve in the same "
            "blocks, and every block pools"
        )


def _pair(mvit: Mapping[str, Any]) -> tuple[int, int]:
    rows, cols = mvit["POOL_KV_STRIDE_ADAPTIVE"]
    return int(rows), int(cols)
