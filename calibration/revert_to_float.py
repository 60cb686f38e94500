"""Modules kept in float in a graph that is quantized already: their nodes as they were, without the Q/DQ around them.

A search over modules needs one calibration in this way, not one a try; and no precision that a builder is told, which
TensorRT 11 no longer listens to: what a strongly typed graph says is what runs.
"""

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from slide_export.core.graph import OnnxGraph
from slide_export.graph.convert import to_ir, to_proto
from slide_export.graph.values import dequantize_of

from .layer_selection import in_modules


def keep_float(quantized: OnnxGraph, full: ir.Model, modules: Sequence[str]) -> OnnxGraph:
    """The quantized graph with these modules in float.

    Args:
        full: the same graph before it was quantized: nodes and values have the same names in both. It stays as it is.
        modules: patterns as in a recipe's `keep_fp32`.
    """
    result = RevertToFloat(full, modules)(to_ir(quantized.proto))
    return OnnxGraph(to_proto(result.model), quantized.inputs, quantized.outputs)


class RevertToFloat(ir.passes.InPlacePass):
    """Take the quantization of some modules back.

    1. A node of such a module: its float weights and its unquantized activations come back.
    2. A user of its result that is in float: it takes the result itself, not the Q/DQ of it.
    3. A user of its result that is quantized: it keeps the Q/DQ, which are its own then.
    4. An output of the graph that was the Q/DQ of its result: the result itself.
    5. What nobody needs any more, such as Q/DQ of weights: removed.

        Given    x -> Q/DQ -> MatMul(DQ(w1_quantized)) -> h -> Q/DQ -> Relu -> Q/DQ -> MatMul(DQ(w2_quantized)) -> y
        Result   x ---------> MatMul(w1) ---------------> h ---------> Relu -> Q/DQ -> MatMul(DQ(w2_quantized)) -> y
    """

    def __init__(self, full: ir.Model, modules: Sequence[str]) -> None:
        self.full = full.graph
        self.modules = modules

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite in place."""
        originals = {node.name: node for node in self.full}
        kept = [node for node in model.graph if node.name in originals and in_modules(node.name or "", self.modules)]
        _bypass(model.graph, {value for node in kept for value in node.outputs})
        values = ir.convenience.create_value_mapping(model.graph)
        for node in kept:
            self._restore(node, originals[node.name], values)
        pruned = RemoveUnusedNodesPass()(model).modified  # Case 5
        return ir.passes.PassResult(model, modified=bool(kept) or pruned)

    def _restore(self, node: ir.Node, original: ir.Node, values: dict[str, ir.Value]) -> None:
        """Case 1: what a node takes, as in the float graph."""
        node.attributes.clear()
        node.attributes.update(original.attributes)
        node.resize_inputs(len(original.inputs))
        for index, value in enumerate(original.inputs):
            if value is None or not value.name:
                node.replace_input_with(index, None)
            elif value.is_initializer():
                node.replace_input_with(index, _weight(node.graph, value, values))
            else:
                node.replace_input_with(index, values[value.name])


def _weight(graph: ir.Graph | None, original: ir.Value, values: dict[str, ir.Value]) -> ir.Value:
    """A float weight in the quantized graph, stored again where quantizing has taken it out."""
    name = original.name or ""
    there = values.get(name)
    if there is not None and there.is_initializer():
        return there
    weight = ir.Value(name=name, type=original.type, shape=original.shape, const_value=original.const_value)
    if there is not None:  # the DequantizeLinear of a bias has the bias's own name
        there.replace_all_uses_with(weight)
        there.name = f"{name}_dequantized"
    if graph is not None:
        graph.register_initializer(weight)
    values[name] = weight
    return weight


def _bypass(graph: ir.Graph, results: set[ir.Value]) -> None:
    """Feed the users of a kept node's quantized result with the result."""
    for node in graph:
        if any(_dequantizes_weight(value) for value in node.inputs):  # Case 3
            continue
        for index, value in enumerate(node.inputs):  # Case 2
            if (source := _quantized_from(value)) in results:
                node.replace_input_with(index, source)
    for index, value in enumerate(graph.outputs):  # Case 4
        source = _quantized_from(value)
        if source is not None and source in results:
            name, value.name = value.name, f"{value.name}_dequantized"
            source.name, source.type, source.shape = name, value.type, value.shape
            graph.outputs[index] = source


def _dequantizes_weight(value: ir.Value | None) -> bool:
    node = dequantize_of(value)
    return node is not None and node.inputs[0] is not None and node.inputs[0].producer() is None


def _quantized_from(value: ir.Value | None) -> ir.Value | None:
    """What a pair of Q and DQ was put behind, None for any other value."""
    node = dequantize_of(value)
    if node is None or node.inputs[0] is None:
        return None
    quantize = node.inputs[0].producer()
    return None if quantize is None else quantize.inputs[0]
