"""Image settings of upstream's configuration tree, which most families share with Swin.

{"DATA": {"INTERPOLATION": "bicubic", "MEAN": [0.5, 0.5, 0.5]}, "TEST": {"CROP": False}}
->  both sides resized to the input's, nothing cropped, bicubic, mean 0.5
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from . import config_tree
from .data import DataConfig
from .family import ShapeError
from .typed_value import typed

WHOLE_IMAGE = 384  # from this side on Swin's configurations crop nothing
OTHER_FILTERS = ("hamming", "lanczos")  # that upstream knows beside


def data_from_tree(tree: Mapping[str, Any] | None, default: DataConfig) -> DataConfig:
    """Override `default` with the image settings of upstream's config tree.

    Source: timm 0.3.2, _pil_interp, which Swin data/build.py calls: a name that it does not know is bilinear.

    Raises:
        ShapeError: the tree's mean or standard deviation is not that of three channels, or its filter is another one.
    """
    data = config_tree.branch(tree, "DATA")
    if not typed(config_tree.branch(tree, "TEST").get("CROP", True), bool, "TEST.CROP"):
        default = replace(default, keep_aspect=False, scale=1.0)
    named = typed(data.get("INTERPOLATION", default.interpolation), str, "DATA.INTERPOLATION")
    if named in OTHER_FILTERS:
        raise ShapeError(f"DATA.INTERPOLATION {named!r}, where bicubic or bilinear is expected")
    return replace(
        default,
        mean=_channels(data, "MEAN", default.mean),
        std=_channels(data, "STD", default.std),
        interpolation="bicubic" if named == "bicubic" else "bilinear",
    )


def _channels(data: Mapping[str, Any], name: str, default: tuple[float, float, float]) -> tuple[float, float, float]:
    told = data.get(name, default)
    if not isinstance(told, list | tuple) or len(told) != len(default):
        raise ShapeError(f"DATA.{name} {told!r}, where three numbers are expected")
    red, green, blue = (typed(value, float, f"DATA.{name}") for value in told)
    return red, green, blue
