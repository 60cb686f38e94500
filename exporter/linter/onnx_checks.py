"""Ranks, convolutions, batch sizes, element types and control flow of an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx
from onnx import TensorProto

from slide_export.native import DOMAIN

from .onnx_view import Graph, attributes
from .rules import Device

READ_IN_FULL = 17  # by every target; slide_export.graph.export.OPSET
STANDARD = ("", "ai.onnx", "ai.onnx.ml")
VIEWS = frozenset({"Reshape", "Transpose"})
INTEGERS = frozenset({TensorProto.INT32, TensorProto.INT64})
NO_NUMBERS = frozenset({TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.COMPLEX128})


def computed_rank(limit: int) -> Callable[[Graph], Iterator[Device]]:
    """Find activations above a rank that something other than a reshape or transpose makes or takes."""

    def find(graph: Graph) -> Iterator[Device]:
        """Nodes that compute at a rank above `limit`."""
        for node in graph.nodes:
            high = _high(graph, node, limit)
            if high and not _only_views(graph, node, limit):
                yield graph.module(node), f"{node.op_type} at rank {max(high)}"

    return find


def viewed_rank(limit: int) -> Callable[[Graph], Iterator[Device]]:
    """Find reshape-transpose-reshape through a rank above a limit."""

    def find(graph: Graph) -> Iterator[Device]:
        """Transposes at a rank above `limit` that lie between reshapes."""
        for node in graph.nodes:
            high = _high(graph, node, limit)
            if high and node.op_type == "Transpose" and _only_views(graph, node, limit):
                yield graph.module(node), f"a view of rank {max(high)} between two reshapes"

    return find


def _high(graph: Graph, node: onnx.NodeProto, limit: int) -> list[int]:
    names = [name for name in (*node.input, *node.output) if name in graph.live]
    return [rank for name in names if (rank := graph.rank(name)) is not None and rank > limit]


def _only_views(graph: Graph, node: onnx.NodeProto, limit: int) -> bool:
    """Whether the node and everything that touches its high-rank values only moves data."""
    around = [node]
    for name in (*node.input, *node.output):
        if (graph.rank(name) or 0) > limit and name in graph.live:
            around += graph.users[name] + ([graph.producer[name]] if name in graph.producer else [])
    return all(other.op_type in VIEWS for other in around)


def multiplier(graph: Graph) -> Iterator[Device]:
    """Find depthwise convolutions with more than one output channel a group."""
    for node in graph.nodes:
        if node.op_type != "Conv" or node.input[1] not in graph.types:
            continue
        groups, weight = attributes(node).get("group", 1), graph.types[node.input[1]].shape
        if groups > 1 and weight and weight[1] == 1 and isinstance(weight[0], int) and weight[0] > groups:
            yield (
                graph.module(node),
                f"depthwise convolution of {groups} channels with multiplier {weight[0] // groups}",
            )


def fixed_batch(graph: Graph) -> Iterator[Device]:
    """Find an input whose first size is a number."""
    for value in graph.inputs:
        shape = graph.types[value.name].shape
        if shape and len(shape) > 1 and isinstance(shape[0], int):
            yield "", f"input {value.name} has batch {shape[0]} only"


def baked_batch(graph: Graph) -> Iterator[Device]:
    """Find reshapes and outputs with a constant batch in a graph whose input leaves it open."""
    if not graph.dynamic_batch:
        return
    for node in graph.nodes:
        if node.op_type not in ("Reshape", "Expand") or node.input[0] not in graph.live:
            continue
        first = graph.first_integer(node.input[1])
        if first is not None and first > (node.op_type == "Expand"):  # an Expand to 1 leaves the size as it is
            yield graph.module(node), f"{node.op_type} to the constant first size {first}"


def element(*kinds: int) -> Callable[[Graph], Iterator[Device]]:
    """Find weights and activations of these element types."""

    def find(graph: Graph) -> Iterator[Device]:
        """Inputs, then nodes, that take or give one of these types; one finding a node."""
        for value in graph.inputs:
            if graph.types[value.name].element in kinds:
                yield "", f"input {value.name} is {_name(graph, value.name)}"
        for node in graph.nodes:
            names = [name for name in node.input if name in graph.weights]
            names += [name for name in node.output if name in graph.live]
            for name in names:
                if name in graph.types and graph.types[name].element in kinds:
                    yield graph.module(node), f"{node.op_type} with {_name(graph, name)} {name}"
                    break

    return find


def int64_activations(graph: Graph) -> Iterator[Device]:
    """Find 64-bit integers that depend on the input's content; sizes and constant indices do not."""
    names = [(value.name, "") for value in graph.inputs]
    names += [(name, graph.module(node)) for node in graph.nodes for name in node.output if name in graph.live]
    for name, module in names:
        if name in graph.types and graph.types[name].element == TensorProto.INT64:
            yield module, f"{name} is int64"


def inner_uint8(graph: Graph) -> Iterator[Device]:
    """Find 8-bit activations between the operators; an input of that type may only be cast."""
    outputs = {value.name for value in graph.proto.graph.output}
    for node in graph.nodes:
        for name in node.output:
            kind = graph.types.get(name)
            quantized = node.op_type in ("QuantizeLinear", "DequantizeLinear")
            if (
                kind is not None
                and kind.element == TensorProto.UINT8
                and name in graph.live - outputs
                and not quantized
            ):
                yield graph.module(node), f"{node.op_type} gives uint8 {name}"


def _name(graph: Graph, name: str) -> str:
    return str(TensorProto.DataType.Name(graph.types[name].element)).lower()


def operators(*types: str) -> Callable[[Graph], Iterator[Device]]:
    """Find nodes of these operator types."""
    return lambda graph: ((graph.module(node), node.op_type) for node in graph.nodes if node.op_type in types)


def scalar_integers(graph: Graph) -> Iterator[Device]:
    """Find integer arithmetic on tensors of rank 0."""
    for node in graph.nodes:
        if node.op_type == "Constant" or not node.output or node.output[0] not in graph.types:
            continue
        kind = graph.types[node.output[0]]
        if kind.shape == () and kind.element in INTEGERS:
            yield graph.module(node), f"{node.op_type} of a 0-d integer"


def opset_above(limit: int) -> Callable[[Graph], Iterator[Device]]:
    """Find an opset newer than `limit`."""

    def find(graph: Graph) -> Iterator[Device]:
        """Standard-domain imports above `limit`."""
        for item in graph.proto.opset_import:
            if item.domain in STANDARD[:2] and item.version > limit:
                yield "", f"opset {item.version}"

    return find


def unreleased_opset(graph: Graph) -> Iterator[Device]:
    """Find an opset newer than the installed onnx knows."""
    yield from opset_above(onnx.defs.onnx_opset_version())(graph)


def custom_operators(graph: Graph) -> Iterator[Device]:
    """Find operators that neither ONNX nor form native defines."""
    for node in graph.nodes:
        if node.domain not in (*STANDARD, DOMAIN):
            yield graph.module(node), f"{node.domain}::{node.op_type}"


def own_operators(graph: Graph) -> Iterator[Device]:
    """Find the operator of form native."""
    for node in graph.nodes:
        if node.domain == DOMAIN:
            yield graph.module(node), f"{node.domain}::{node.op_type}"
