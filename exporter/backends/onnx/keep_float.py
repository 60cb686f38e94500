"""Layers that a quantized graph has in float, kept so in ONNX Runtime."""

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from slide_export.core.errors import LoweringError

LAYERS = frozenset({"Conv", "Gemm"})
STEPS = frozenset({"Relu", "Clip"})
"""What may stand between a layer and its rounding for ONNX Runtime to take all in one."""


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
        kept = [node for node in model.graph if node.op_type in LAYERS and _would_be_quantized(node)]
        for node in kept:
            model.graph.insert_before(node, _for_each_channel(node, model.graph))
        return ir.passes.PassResult(model, bool(kept))


def _would_be_quantized(node: ir.Node) -> bool:
    given, weight = node.inputs[:2]
    source = None if given is None else given.producer()
    if source is None or source.op_type != "DequantizeLinear" or weight is None or weight.const_value is None:
        return False
    scale = source.inputs[1]
    by_one_number = scale is not None and scale.const_value is not None and scale.const_value.size == 1
    return by_one_number and weight.dtype == ir.DataType.FLOAT and _is_rounded(node)


def _is_rounded(node: ir.Node) -> bool:
    """Whether all that uses a layer's result is one QuantizeLinear, perhaps behind a Relu or a Clip."""
    (result,) = node.outputs
    uses = tuple(result.uses())
    if len(uses) != 1 or result.is_graph_output():
        return False
    user = uses[0].node
    return user.op_type == "QuantizeLinear" or (user.op_type in STEPS and _is_rounded(user))


def _for_each_channel(node: ir.Node, graph: ir.Graph) -> ir.Node:
    """A DequantizeLinear for this layer alone, which it takes from here on."""
    given, weight = node.inputs[:2]
    source = None if given is None else given.producer()
    quantized, *numbers = () if source is None else source.inputs
    taken: list[ir.Value | None] = [quantized]
    for number, part in zip(numbers, ("scale", "zero_point"), strict=False):
        name, values = f"{node.name}_input_{part}", np.full(_channels(node, weight), _constant(number).reshape(()))
        constant = ir.val(name, const_value=ir.tensor(values, name=name))
        graph.initializers.add(constant)
        taken.append(constant)
    made = ir.node("DequantizeLinear", taken, {"axis": 1}, name=f"{node.name}_input_DequantizeLinear")
    made.outputs[0].name = f"{node.name}_input"
    node.replace_input_with(0, made.outputs[0])
    return made


def _channels(node: ir.Node, weight: ir.Value | None) -> int:
    """Length of the second axis of a layer's input, from the sides of its weight."""
    sides = _constant(weight).shape
    if node.op_type == "Gemm":
        return int(sides[1] if node.attributes.get_int("transB", 0) else sides[0])
    return int(sides[1] * node.attributes.get_int("group", 1))


def _constant(value: ir.Value | None) -> NDArray[Any]:
    if value is None or value.const_value is None:
        raise LoweringError(
            "expected weights and scales of a quantized graph to be constants, found one that is computed"
        )
    return value.const_value.numpy()
