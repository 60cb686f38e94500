"""The constants of an IR as OpenVINO expands them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slide_export.core.stored import StoredConstant, rounded_float, stepped

from .runtime import read_ir

EIGHT_BIT = ("i8", "u8")
FLOATS = {"bf16": "bfloat16", "f16": "float16", "f32": "float32", "f64": "float64"}


def stored(path: Path, settings: Mapping[str, Any]) -> Iterator[StoredConstant]:
    """Every weight and table of an IR, by the name that the ONNX graph had for it.

    1. 8-bit data in front of a Convert: times the scale behind it, which is not given again.
    2. A float: as it is. Of 16-bit weights an IR has a Convert behind each, which changes nothing.
    3. Integers: left out; they are shapes and axes, which OpenVINO words in its own way.

    Raises:
        BundleError: the IR cannot be read.
    """
    model = read_ir(path, settings)  # kept: nodes of a model that is gone have no users
    constants = [node for node in model.get_ordered_ops() if _constant(node)]
    spent: set[str] = set()
    for node in constants:
        if _kind(node) in EIGHT_BIT and (found := _expanded(node)):
            spent.update(found[1])
            yield found[0]  # Case 1
    for node in constants:
        name, kind = node.get_friendly_name(), _kind(node)
        if kind in FLOATS and name not in spent:
            yield rounded_float(name, FLOATS[kind], _floats(node))  # Case 2


def _constant(node: Any) -> bool:
    return bool(node.get_type_name() == "Constant")


def _kind(node: Any) -> str:
    return str(node.get_element_type().get_type_name())


def _floats(node: Any) -> Any:
    """Values of a constant; those of bfloat16, a type that NumPy has not, in float32."""
    return node.get_data(dtype=np.float32) if _kind(node) == "bf16" else np.asarray(node.data)


def _expanded(node: Any) -> tuple[StoredConstant, tuple[str, ...]] | None:
    """8-bit data with its scale, and the names of scale and zero point; None where nothing multiplies it.

    Given   data -> Convert -> Subtract(zero) -> Multiply(scale)      the Subtract may be missing
    """
    data, zero, spent = np.asarray(node.data), np.zeros(()), []
    user = _only_user(node)
    while user is not None and user.get_type_name() in ("Convert", "Subtract", "Multiply"):
        if user.get_type_name() != "Convert":
            name, values = _operand(user)
            if values is None or name == node.get_friendly_name():
                return None  # the other operand is an activation
            spent.append(name)
            if user.get_type_name() == "Multiply":
                return stepped(node.get_friendly_name(), str(data.dtype), data, values, zero), tuple(spent)
            zero = values
        user = _only_user(user)
    return None


def _only_user(node: Any) -> Any:
    users = [target.get_node() for target in node.output(0).get_target_inputs()]
    return users[0] if users else None


def _operand(node: Any) -> tuple[str, Any]:
    """The constant that a Subtract or Multiply takes, in the shape in which it does: behind a Convert or a Reshape."""
    shape, other = node.input(1).get_partial_shape(), node.input_value(1).get_node()
    while other.get_type_name() in ("Convert", "Reshape"):
        other = other.input_value(0).get_node()
    if not _constant(other) or shape.is_dynamic:
        return "", None
    return other.get_friendly_name(), np.asarray(other.data).astype(np.float64).reshape(list(shape.to_shape()))
