"""Layers that a quantized graph has in float, kept so in ONNX Runtime."""

import numpy as np
import onnx_ir as ir

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
    assert given is not None and weight is not None and weight.const_value is not None
    source = given.producer()
    assert source is not None
    quantized, *numbers = source.inputs
    channels = _channels(node, weight.const_value.shape.numpy())
    taken = [quantized]
    for number, part in zip(numbers, ("scale", "zero_point"), strict=False):
        assert number is not None and number.const_value is not None
        values = np.full(channels, number.const_value.numpy().reshape(()))
        taken.append(
            ir.val(f"{node.name}_input_{part}", const_value=ir.tensor(values, name=f"{node.name}_input_{part}"))
        )
        graph.initializers.add(taken[-1])
    made = ir.node("DequantizeLinear", taken, {"axis": 1}, name=f"{node.name}_input_DequantizeLinear")
    made.outputs[0].name = f"{node.name}_input"
    node.replace_input_with(0, made.outputs[0])
    return made


def _channels(node: ir.Node, sides: tuple[int, ...]) -> int:
    """Sides of the second axis of a layer's input, from those of its weight."""
    if node.op_type == "Gemm":
        return sides[1] if node.attributes.get_int("transB", 0) else sides[0]
    return sides[1] * node.attributes.get_int("group", 1)
