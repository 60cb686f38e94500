"""Modules kept in float in a graph that is quantized already: their nodes as they were, without the Q/DQ around them.

A search over modules needs one calibration in this way, not one a try; and no precision that a builder is told, which
TensorRT 11 no longer listens to: what a strongly typed graph says is what runs.
"""

from collections.abc import Sequence

import onnx

from slide_export.core.graph import OnnxGraph

from .layer_selection import in_modules


def keep_float(quantized: OnnxGraph, full: OnnxGraph, modules: Sequence[str]) -> OnnxGraph:
    """Returns the quantized graph with these modules in float.

    Args:
        full: the same graph before it was quantized: nodes and values have the same names in both.
        modules: patterns as in a recipe's `keep_fp32`.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(quantized.proto)
    originals = {node.name: node for node in full.proto.graph.node}
    kept = [node for node in proto.graph.node if node.name in originals and in_modules(node, modules)]
    results = {name for node in kept for name in node.output}
    _bypass(proto.graph, results)
    for node in kept:
        node.CopyFrom(originals[node.name])
    _restore_weights(proto.graph, full.proto.graph, {name for node in kept for name in node.input})
    _prune(proto.graph)
    return OnnxGraph(proto, quantized.inputs, quantized.outputs)


def _bypass(graph: onnx.GraphProto, results: set[str]) -> None:
    """Feeds the users of a kept node's quantized result with the result, unless they are quantized themselves."""
    made = {node.output[0]: node for node in graph.node}
    for node in graph.node:
        pairs = [made.get(name) for name in node.input]
        if any(_of_weight(pair, made) for pair in pairs):
            continue
        for index, pair in enumerate(pairs):
            if pair is None or pair.op_type != "DequantizeLinear" or pair.input[0] not in made:
                continue
            source = made[pair.input[0]].input[0]
            if source in results:
                node.input[index] = source


def _of_weight(node: onnx.NodeProto | None, made: dict[str, onnx.NodeProto]) -> bool:
    return node is not None and node.op_type == "DequantizeLinear" and node.input[0] not in made


def _restore_weights(graph: onnx.GraphProto, full: onnx.GraphProto, names: set[str]) -> None:
    """Puts the float weights of kept nodes back; what quantizing called the same gives way to them."""
    wanted = [tensor for tensor in full.initializer if tensor.name in names]
    taken = {tensor.name for tensor in wanted}
    for node in [node for node in graph.node if taken.intersection(node.output)]:
        graph.node.remove(node)  # the DequantizeLinear of a bias has the bias's own name
    there = {tensor.name for tensor in graph.initializer}
    graph.initializer.extend(tensor for tensor in wanted if tensor.name not in there)


def _prune(graph: onnx.GraphProto) -> None:
    """Takes out what no output needs any more; nodes stand in the order of execution."""
    needed = {value.name for value in graph.output}
    for node in reversed(list(graph.node)):
        if needed.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            needed.update(node.input)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in needed]:
        graph.initializer.remove(tensor)
