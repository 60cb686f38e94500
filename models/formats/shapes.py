"""What the shapes of a Swin tell once it has its names here, and what they leave open."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from slide_export.models import swin
from slide_export.models.family import ShapeError, State
from slide_export.models.window_tables import check_window

from . import windows
from .format import Beside

LAST_NORM = {r"norm\.weight": 1.0, r"norm\.bias": 0.0}
TABLE = r"layers\.\d+\.blocks\.\d+\.attn\.relative_position_bias_table"


def has(keys: Collection[str], pattern: str) -> bool:
    """Whether a key begins with a pattern."""
    return any(re.match(pattern, key) for key in keys)


def last_norm(state: State) -> dict[str, float]:
    """What stands for the norm before the head where a model has neither: its maps do not need it.

    Nothing does beside a head: a classifier without its norm has lost it.
    """
    return {} if "norm.weight" in state or "head.weight" in state else LAST_NORM


def windows_alike(state: State) -> bool:
    """Whether the tables of all stages are alike, and no mask tells the input: any input of 32 windows or more fits."""
    sizes = {value.shape[0] for key, value in state.items() if re.fullmatch(TABLE, key) and value.ndim == 2}
    return len(sizes) == 1 and not any(key.endswith(".attn_mask") for key in state)


def swin_fields(state: State, told: Mapping[str, Any], beside: Beside) -> dict[str, Any]:
    """Complete the fields of a Swin's configuration: what is told wins over what the user says and the shapes tell.

    Raises:
        ShapeError: nothing tells one of them, or the user says another window than a file tells.
    """
    asked = windows.said(beside, windows.WINDOW)
    if asked:
        check_window(state, asked)
    if asked and tuple(told.get("window", asked)) != asked:
        raise ShapeError(f"windows of {told['window']} in the library's own configuration, where {asked} was said")
    if windows.has_oblong(state):
        told = {**told, **windows.tell(state, told, beside)}
    inferred = vars(swin.infer(state, window=told.get("window")))
    fields = {name: inferred[name] for name in ("embed_dim", "depths", "heads", "window", "image_size", "mlp_ratio")}
    if "window" in told and "image_size" not in told:
        side = max(told["window"]) * (swin.PATCH << (len(fields["depths"]) - 1))
        fields["image_size"] = (side, side) if windows_alike(state) else fields["image_size"]
    return {**fields, "num_classes": inferred["num_classes"], "feature_norms": feature_norms(state), **told}


def feature_norms(state: State) -> tuple[int, ...]:
    """List the stages whose maps have a norm of their own; the last stage's is the classifier's."""
    return tuple(int(match[1]) for key in state if (match := re.fullmatch(r"norm(\d+)\.weight", key)))
