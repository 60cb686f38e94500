"""An ONNX model as the rules look at it: types, constants, who makes and who uses a value, and its PyTorch module."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx

SHAPE_OPS = frozenset({"Shape", "Size"})
NAME_SCOPES = "pkg.torch.onnx.name_scopes"  # written by torch/onnx/_internal/exporter/_core.py


@dataclass(frozen=True)
class Type:
    """Element type (an onnx.TensorProto number) and shape; None is an unknown size, a str a named one."""

    element: int
    shape: tuple[int | str | None, ...] | None


class Graph:
    """A read-only view of a model's main graph; bodies of loops and branches are not looked into."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.proto = proto
        self.nodes: tuple[onnx.NodeProto, ...] = tuple(proto.graph.node)
        self.weights = {item.name: item for item in proto.graph.initializer}
        self.inputs = tuple(value for value in proto.graph.input if value.name not in self.weights)
        self.producer = {name: node for node in self.nodes for name in node.output}

    @cached_property
    def users(self) -> dict[str, list[onnx.NodeProto]]:
        """The nodes that take each value."""
        users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                users[name].append(node)
        return users

    @cached_property
    def types(self) -> dict[str, Type]:
        """The type of every value that shape inference reaches, weights included."""
        try:
            graph = onnx.shape_inference.infer_shapes(self.proto, data_prop=True).graph
        except onnx.shape_inference.InferenceError:  # an operator that onnx does not know
            graph = self.proto.graph
        types = {item.name: Type(item.data_type, tuple(item.dims)) for item in self.weights.values()}
        for value in (*graph.value_info, *graph.input, *graph.output):
            types[value.name] = _type(value)
        return types

    @cached_property
    def live(self) -> frozenset[str]:
        """The values that depend on the content of an input, not on its shape alone."""
        live = {value.name for value in self.inputs}
        for node in self.nodes:
            if node.op_type not in SHAPE_OPS and not live.isdisjoint(node.input):
                live.update(node.output)
        return frozenset(live)

    def rank(self, name: str) -> int | None:
        """Rank of a value, or None where it is unknown."""
        kind = self.types.get(name)
        return None if kind is None or kind.shape is None else len(kind.shape)

    def constant(self, name: str) -> np.ndarray[Any, Any] | None:
        """Values of a constant; None for a computed value or one stored outside the file."""
        tensor = self.weights.get(name)
        if tensor is None and name in self.producer and self.producer[name].op_type == "Constant":
            tensor = attributes(self.producer[name]).get("value")
        if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
            return None
        return onnx.numpy_helper.to_array(tensor)

    def integers(self, node: onnx.NodeProto, position: int) -> list[int] | None:
        """Constant integers in an operand, or None where it is absent or computed."""
        values = self.constant(node.input[position]) if len(node.input) > position else None
        return None if values is None else [int(value) for value in values.reshape(-1)]

    def first_integer(self, name: str) -> int | None:
        """First of some integers where it is constant, though the others may be computed; else None."""
        values, node = self.constant(name), self.producer.get(name)
        if values is not None:
            return int(values.reshape(-1)[0]) if values.size else None
        if node is not None and node.op_type in ("Concat", "Unsqueeze", "Identity", "Cast"):
            return self.first_integer(node.input[0])
        return None

    @property
    def dynamic_batch(self) -> bool:
        """Whether the first dimension of the first input is left open."""
        shape = _type(self.inputs[0]).shape if self.inputs else None
        return bool(shape) and not isinstance(shape[0], int)  # type: ignore[index]  # bool() has seen it

    def module(self, node: onnx.NodeProto) -> str:
        """PyTorch module that a node comes from: by its metadata, its name, its result or a weight."""
        scopes = next((item.value for item in node.metadata_props if item.key == NAME_SCOPES), None)
        if scopes is not None:
            path = ast.literal_eval(scopes)  # ['', 'layers.0', 'layers.0.norm', 'layer_norm']: the last is the operator
            return str(path[-2]) if len(path) > 1 else ""
        for name in (node.name, *node.output):
            if name.startswith("/"):
                return dotted(name.split("/")[1:-1])
        dots = (name for name in node.input if name in self.weights and "." in name)
        return next(dots, "").rpartition(".")[0]


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes of a node as Python values."""
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def dotted(scopes: Sequence[str]) -> str:
    """Module path of nested tracer scopes: `blocks`, `blocks.0`, `attn` -> `blocks.0.attn`.

    A scope that begins with the one before it, as a called Sequential's does, replaces it.
    """
    path: list[str] = []
    for scope in scopes:
        if path and scope.startswith(path[-1] + "."):
            path.pop()
        path.append(scope)
    return ".".join(path)


def _type(value: onnx.ValueInfoProto) -> Type:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return Type(tensor.elem_type, None)
    return Type(tensor.elem_type, tuple(_size(dim) for dim in tensor.shape.dim))


def _size(dim: Any) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return str(dim.dim_param) or None
