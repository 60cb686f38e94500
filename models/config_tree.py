"""The configuration of a model as a tree of plain values, for families whose upstream saves none.

    {"MODEL": {"TYPE": "nat", "NUM_CLASSES": 10, "NAT": {"EMBED_DIM": 16, ...}}, "DATA": {"IMG_SIZE": [64, 64]}}

Every field of the family's configuration stands under the family's name; the form is Swin's (config.py), the names are
ours. A checkpoint that has it under "config" needs no guess from its shapes.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from .family import Config

ConfigT = TypeVar("ConfigT", bound=Config)
FUNCTION = (  # fields that a tree may leave out
    "norm_eps",
    "embed_eps",
    "reduced_eps",
    "activation",
    "dilations",
    "normed_stages",
    "refuse_remainder",
)
ELSEWHERE = ("image_size", "num_classes")  # fields with a place of their own in the tree


def write_config(config: Any, family: str) -> dict[str, Any]:
    """Config tree of a frozen dataclass."""
    values = asdict(config)
    numbers = {name.upper(): value for name, value in values.items() if name not in ELSEWHERE}
    return {
        "MODEL": {"TYPE": family, "NUM_CLASSES": values["num_classes"], family.upper(): numbers},
        "DATA": {"IMG_SIZE": list(values["image_size"])},
    }


def read_config(tree: Mapping[str, Any], family: str, kind: type[ConfigT]) -> ConfigT | None:
    """Read a configuration; None if the tree is another family's or incomplete.

    Args:
        kind: the family's configuration, a frozen dataclass.
    """
    try:
        model = tree["MODEL"]
        if model["TYPE"] != family:
            return None
        numbers = model[family.upper()]
        values = {name: _plain(numbers[name.upper()]) for name in _told(kind, numbers) if name not in ELSEWHERE}
        size = sides(tree["DATA"]["IMG_SIZE"])
        return kind(**values, **{"image_size": size, "num_classes": int(model["NUM_CLASSES"])})
    except (KeyError, TypeError, ValueError, IndexError):
        return None


def branch(tree: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    """Branch of a tree; empty where it is absent."""
    found = None if tree is None else tree.get(name)
    return found if isinstance(found, Mapping) else {}


def sides(value: Any) -> tuple[int, int]:
    """Rows and columns of an input size given as one number or as two: 224 -> (224, 224)."""
    rows, cols = (value, value) if isinstance(value, int) else value
    return int(rows), int(cols)


def _told(kind: type[Any], numbers: Mapping[str, Any]) -> tuple[str, ...]:
    """List the fields to read: all that a shape could tell, and of the others those that the tree has."""
    return tuple(f.name for f in fields(kind) if f.name not in FUNCTION or f.name.upper() in numbers)


def _plain(value: Any) -> Any:
    return tuple(_plain(item) for item in value) if isinstance(value, list) else value
