"""Layers that a quantized graph has in float, kept so in ONNX Runtime."""

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from slide_export.core.errors import LoweringError
from slide_export.graph.convert import constant, to_ir, to_proto
from slide_export.graph.values import dequantize_of

LAYERS = frozenset({"Conv", "Gemm"})
STEPS = frozenset({"Relu", "Clip"})
"""What may stand between a layer and its rounding for ONNX Runtime to take all in one."""


def keep_float(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with what is float in it kept so, where ONNX Runtime would quantize it."""
    return to_proto(KeepFloat()(to_ir(proto)).model)


class KeepFloat(ir.passes.InPlacePass):
    """Give a layer with float weights, between two that are quantized, an input whose scale is said for each channel.

    ONNX Runtime 1.32 quantizes the weights of such a layer itself when it loads the graph, to 8 bits with one scale for
    all, whoever asked for them in float. It does so where one number scales the input, so that is said C times; of one
    channel it cannot be helped.

        Given    DequantizeLinear(q, 0.1) -> Conv(weight: float32) -> Relu -> QuantizeLinear
        Result   DequantizeLinear(q, [0.1, 0.1, 0.1], axis=1) -> Conv(weight: float32) -> Relu -> QuantizeLinear

    Source: ONNX Runtime, core/optimizer/qdq_transformer/weight_bias_quantization.cc.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite in place."""
        found = ((node, _source(node)) for node in model.graph if node.op_type in LAYERS)
        kept = [(node, source) for node, source in found if source is not None and _is_rounded(node)]
        for node, source in kept:
            model.graph.insert_before(node, _for_each_channel(node, source, model.graph))
        return ir.passes.PassResult(model, bool(kept))


def _source(node: ir.Node) -> ir.Node | None:
    """The DequantizeLinear, by one number, that a layer with float weights takes its input from."""
    source, weight = dequantize_of(node.inputs[0]), node.inputs[1]
    if source is None or weight is None or weight.const_value is None or weight.dtype != ir.DataType.FLOAT:
        return None
    scale = source.inputs[1]
    by_one_number = scale is not None and scale.const_value is not None and scale.const_value.size == 1
    return source if by_one_number else None


def _is_rounded(node: ir.Node) -> bool:
    """Whether all that uses a layer's result is one QuantizeLinear, perhaps behind a Relu or a Clip."""
    (result,) = node.outputs
    uses = tuple(result.uses())
    if len(uses) != 1 or result.is_graph_output():
        return False
    user = uses[0].node
    return user.op_type == "QuantizeLinear" or (user.op_type in STEPS and _is_rounded(user))


def _for_each_channel(node: ir.Node, source: ir.Node, graph: ir.Graph) -> ir.Node:
    """A DequantizeLinear for this layer alone, which it takes from here on."""
    quantized, *numbers = source.inputs
    taken: list[ir.Value | None] = [quantized]
    for number, part in zip(numbers, ("scale", "zero_point"), strict=False):
        values = np.full(_channels(node), _values(number).reshape(()))
        held = constant(ir.tensor(values, name=f"{node.name}_input_{part}"))
        graph.initializers.add(held)
        taken.append(held)
    made = ir.node("DequantizeLinear", taken, {"axis": 1}, name=f"{node.name}_input_DequantizeLinear")
    made.outputs[0].name = f"{node.name}_input"
    node.replace_input_with(0, made.outputs[0])
    return made


def _channels(node: ir.Node) -> int:
    """Length of the second axis of a layer's input, from the sides of its weight."""
    sides = _values(node.inputs[1]).shape
    if node.op_type == "Gemm":
        return int(sides[1] if node.attributes.get_int("transB", 0) else sides[0])
    return int(sides[1] * node.attributes.get_int("group", 1))


def _values(value: ir.Value | None) -> NDArray[Any]:
    if value is None or value.const_value is None:
        raise LoweringError(
            "expected weights and scales of a quantized graph to be constants, found one that is computed"
        )
    return value.const_value.numpy()
