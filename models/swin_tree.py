"""Upstream's configuration of a Swin or Slide-Swin: which fields are read, change nothing, or are refused.

{"MODEL": {"TYPE": "slide_swin", "NUM_CLASSES": 10, "SWIN": {"EMBED_DIM": 96, ...}, "SLIDE": {"KA": 3, ...}},
 "DATA": {"IMG_SIZE": 224}}
"""

from collections.abc import Mapping
from typing import Any

from . import config_tree
from .family import IncompleteError, ShapeError
from .typed_value import typed


def read_fields(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Read the fields of a `SwinConfig`.

    Raises:
        IncompleteError: a field is missing.
        ShapeError: it says what no model here does.
    """
    refuse_unmodelled(tree)
    model, data = config_tree.branch(tree, "MODEL"), config_tree.branch(tree, "DATA")
    swin, slide = config_tree.branch(model, "SWIN"), config_tree.branch(model, "SLIDE")
    is_slide = model.get("TYPE") == "slide_swin"
    needed = [("MODEL.SWIN", swin, NEEDED), ("MODEL", model, ("TYPE", "NUM_CLASSES")), ("DATA", data, ("IMG_SIZE",))]
    needed += [("MODEL.SLIDE", slide, ("NUM_SLIDE_STAGES", "KA"))] if is_slide else []
    missing = [f"{where}.{name}" for where, place, names in needed for name in names if place.get(name) is None]
    if missing:
        raise IncompleteError(missing)

    def told(name: str, kind: Any) -> Any:
        """A field of the tree in its own type."""
        return typed(swin[name], kind, f"MODEL.SWIN.{name}")

    return {
        "embed_dim": told("EMBED_DIM", int),
        "depths": told("DEPTHS", tuple[int, ...]),
        "heads": told("NUM_HEADS", tuple[int, ...]),
        "window": (told("WINDOW_SIZE", int),) * 2,
        "image_size": config_tree.sides(data["IMG_SIZE"]),
        "num_classes": typed(model["NUM_CLASSES"], int, "MODEL.NUM_CLASSES"),
        "slide_stages": typed(slide["NUM_SLIDE_STAGES"], int, "MODEL.SLIDE.NUM_SLIDE_STAGES") if is_slide else 0,
        "kernel_size": typed(slide["KA"], int, "MODEL.SLIDE.KA") if is_slide else 3,
        "mlp_ratio": told("MLP_RATIO", float) if "MLP_RATIO" in swin else 4.0,
    }


def refuse_unmodelled(tree: Mapping[str, Any]) -> None:
    """Refuse fields of upstream's config tree that change the function and are not modelled.

    Source: microsoft/Swin-Transformer f82860b, config.py and models/build.py, build_model.

    Raises:
        ShapeError: one has a value that no model here has.
    """
    model = config_tree.branch(tree, "MODEL")
    swin = config_tree.branch(model, "SWIN")
    told = model.get("TYPE", "swin")
    if swin and told not in ("swin", "slide_swin"):
        raise ShapeError(
            f"MODEL.TYPE {told!r}, where swin or slide_swin is expected: correct the configuration, or leave it out"
        )
    config_tree.refuse_unknown(swin, {*NEEDED, *UNMODELLED, *WITHOUT_EFFECT, "MLP_RATIO"}, "MODEL.SWIN")
    config_tree.refuse_unknown(config_tree.branch(model, "SLIDE"), ("NUM_SLIDE_STAGES", "KA"), "MODEL.SLIDE")
    for name, value in UNMODELLED.items():
        if name in swin and swin[name] != value:
            raise ShapeError(
                f"MODEL.SWIN.{name} {swin[name]!r}, where {value!r} is expected: the others are not exported"
            )


UNMODELLED = {
    "PATCH_SIZE": 4,
    "IN_CHANS": 3,
    "QKV_BIAS": True,
    "QK_SCALE": None,
    "APE": False,
    "PATCH_NORM": True,
}
"""Fields under MODEL.SWIN -> the only value that is exported."""

NEEDED = ("EMBED_DIM", "DEPTHS", "NUM_HEADS", "WINDOW_SIZE")
WITHOUT_EFFECT = frozenset(
    """
    KA DIM_REDUCTION STAGES STAGES_NUM RPB PADDING_MODE SHARE_DWC_KERNEL SHARE_QKV LR_FACTOR DEPTHS_LR FUSION_TYPE
    STAGE_CFG
    """.split()  # noqa: SIM905
)
"""Fields under MODEL.SWIN that upstream has and does not read.

Source: LeapLabTHU/Slide-Transformer 6b1e184, config.py and models/build.py.
"""
