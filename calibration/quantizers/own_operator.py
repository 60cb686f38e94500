"""The operator of form native while a graph is quantized: libraries run the graph, and have no such operator.

    expand     in its place a subgraph of ONNX's own operators, none of them among the nodes that are quantized
    collapse   the operator back in the place of that subgraph; what was put around it stays

The subgraph ends in a product with 1: what quantizes the next layer's input stays behind it, and moves into no reshape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from slide_export.core.errors import LoweringError
from slide_export.graph.convert import to_ir
from slide_export.graph.shapes import infer
from slide_export.native import DOMAIN

T = TypeVar("T", onnx.NodeProto, onnx.TensorProto, onnx.ValueInfoProto)
MARK = "/expanded/"
"""Between the operator's name and that of a node or tensor in its place."""


@dataclass(frozen=True)
class Expanded:
    """What has to come back.

    Attributes:
        nodes: our operators by name.
        weights: what they take by name, which nothing takes meanwhile.
    """

    nodes: Mapping[str, onnx.NodeProto]
    weights: Mapping[str, onnx.TensorProto]


def expand(proto: onnx.ModelProto) -> Expanded:
    """Put a subgraph in the place of each of our operators, in place; what was there.

    Given    qkv -> SlideAttention(keys, key_bias, values, value_bias) -> out
    Result   qkv -> Split -> Transpose -> Conv -> ... -> Softmax -> ... -> Transpose -> Mul(1) -> out
    """
    own = {node.name: node for node in proto.graph.node if node.domain == DOMAIN}
    if not own:
        return Expanded({}, {})
    sizes = _sizes(proto)
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in proto.graph.node:
        if node.domain != DOMAIN:
            nodes.append(node)
            continue
        given = [numpy_helper.to_array(weights[name]) for name in node.input[1:]]
        writer = _Writer(node.name)
        _write(writer, node, given, sizes[node.output[0]])
        nodes += writer.nodes
        proto.graph.initializer.extend(writer.constants)
    taken = {name for node in own.values() for name in node.input[1:]}
    kept = Expanded(
        {name: _copy(node) for name, node in own.items()}, {name: _copy(weights[name]) for name in sorted(taken)}
    )
    copies = [_copy(node) for node in nodes]
    others = [_copy(tensor) for tensor in proto.graph.initializer if tensor.name not in taken]
    del proto.graph.node[:], proto.graph.initializer[:]
    proto.graph.node.extend(copies)
    proto.graph.initializer.extend(others)
    return kept


def collapse(proto: onnx.ModelProto, kept: Expanded) -> None:
    """Put the operators back, in place.

    Raises:
        LoweringError: the library has put something inside a subgraph.
    """
    own = kept.nodes
    if not own:
        return
    marks = {f"{name}{MARK}": node for name, node in own.items()}
    inside = {name for node in proto.graph.node if MARK in node.name for name in node.output}
    given = {name for node in own.values() for name in node.output}
    nodes: list[onnx.NodeProto] = []
    for node in proto.graph.node:
        mark = next((mark for mark in marks if node.name.startswith(mark)), None)
        if mark is None:
            if (inside - given).intersection(node.input):
                raise LoweringError(
                    f"expected a quantizer that leaves form native's operator alone, found {node.name} inside of it: "
                    "take another form"
                )
            nodes.append(node)
        elif marks[mark].output[0] in node.output:  # the last of its nodes
            nodes.append(marks[mark])
    tensors = [_copy(tensor) for tensor in proto.graph.initializer if MARK not in tensor.name]
    values = [_copy(value) for value in proto.graph.value_info if MARK not in value.name]
    copies = [_copy(node) for node in nodes]
    del proto.graph.node[:], proto.graph.initializer[:], proto.graph.value_info[:]
    proto.graph.node.extend(copies)
    proto.graph.initializer.extend([*tensors, *kept.weights.values()])
    proto.graph.value_info.extend(values)


def _copy(part: T) -> T:
    """A part of a graph that lives on when the list that it is in is cleared."""
    copied = type(part)()
    copied.CopyFrom(part)
    return copied


def _sizes(proto: onnx.ModelProto) -> dict[str, tuple[int, int]]:
    """Rows and columns of what each operator gives."""
    model = to_ir(proto)
    infer(model)
    found = {}
    for node in model.graph:
        if node.domain == DOMAIN and (shape := node.outputs[0].shape) is not None:
            found[node.outputs[0].name or ""] = (int(str(shape[1])), int(str(shape[2])))
    return found


@dataclass
class _Writer:
    """The subgraph of one operator as it grows."""

    name: str

    def __post_init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Any) -> str:
        """Keep an array; the name that nodes take it by."""
        name = f"{self.name}{MARK}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], outputs: int = 1, to: str = "", **attributes: Any) -> Any:
        """Append a node; the name of its output, or their names."""
        name = f"{self.name}{MARK}{kind}_{len(self.nodes)}"
        made = [to] if to else [f"{name}_output_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), made, name, **attributes))
        return made if outputs > 1 else made[0]


def _write(
    writer: _Writer, node: onnx.NodeProto, weights: Sequence[NDArray[np.float32]], size: tuple[int, int]
) -> None:
    """The function of the operator; `native/slide_attention.cpp` says what each input is."""
    keys, key_bias, values, value_bias = weights
    told = {attribute.name: attribute.i for attribute in node.attribute}
    heads, side, (rows, cols), width = told["heads"], told["kernel_size"], size, keys.shape[-1]
    dim = heads * width

    def convolved(x: str, kernels: NDArray[np.float32], biases: NDArray[np.float32]) -> str:
        """Taps of every head: kernels [nH or 1, taps, k*k, d], biases [nH or 1, taps, d] -> [B*nH, d, taps, HW]."""
        kernels, biases = (np.broadcast_to(one, (heads, *one.shape[1:])) for one in (kernels, biases))
        weight = kernels.transpose(0, 3, 1, 2).reshape(-1, 1, side, side)
        bias = biases.transpose(0, 2, 1).reshape(-1)
        fed = [x, writer.constant(weight), writer.constant(bias)]
        seen = writer.node("Conv", fed, group=dim, kernel_shape=[side, side], pads=[side // 2] * 4)
        shape = writer.constant(np.array([-1, width, kernels.shape[1], rows * cols], np.int64))
        return str(writer.node("Reshape", [seen, shape]))

    parts = writer.node("Split", [node.input[0]], 3, axis=3)
    q, k, v = (writer.node("Transpose", [part], perm=[0, 3, 1, 2]) for part in parts)
    q = writer.node("Reshape", [q, writer.constant(np.array([-1, width, 1, rows * cols], np.int64))])
    products = writer.node("Mul", [q, convolved(k, keys[None], key_bias)])
    logits = writer.node("ReduceSum", [products, writer.constant(np.array([1], np.int64))], keepdims=1)
    ends = writer.constant(np.array([0, 0, 0, 0, 0, 0, 1, 0], np.int64))
    shares = writer.node("Softmax", [writer.node("Pad", [logits, ends])], axis=2)  # the middle tap is last
    kernels, biases = (np.concatenate((one[:, 1:] + one[:, :1], one[:, :1]), axis=1) for one in (values, value_bias))
    weighted = writer.node("Mul", [shares, convolved(v, kernels, biases)])
    summed = writer.node("ReduceSum", [weighted, writer.constant(np.array([2], np.int64))], keepdims=0)
    out = writer.node("Reshape", [summed, writer.constant(np.array([-1, dim, rows, cols], np.int64))])
    out = writer.node("Transpose", [out], perm=[0, 2, 3, 1])
    writer.node("Mul", [out, writer.constant(np.ones((), np.float32))], to=node.output[0])
