"""The values inside an ONNX graph, by the PyTorch module that each one belongs to, and the graph that shows them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from slide_export.core.graph import Value

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

INSIDE = "_inside"  # behind the name of a value whose name its float64 copy has
QUANTIZING = frozenset({"QuantizeLinear", "DequantizeLinear"})


def values(proto: onnx.ModelProto) -> tuple[Value, ...]:
    """Every value that depends on an input, in the order of execution; `passes/module_names.py` named nodes.

    A value that is quantized belongs to the layer that takes it, which it is quantized for; a convolution's result to
    the convolution, whose kernel gives it so.
    """
    live = {value.name for value in proto.graph.input}
    convolved: dict[str, str] = {}  # a convolution's result, and its Q/DQ -> the convolution's scope
    found = []
    for node in proto.graph.node:
        takes = tuple(name for name in node.input if name in live)
        if not takes:
            continue
        live.update(node.output)
        quantizing = node.op_type in QUANTIZING
        scope = convolved.get(takes[0]) if quantizing else scope_of(node.name)
        if scope is not None and (quantizing or node.op_type == "Conv"):
            convolved.update(dict.fromkeys(node.output, scope))
        found += [Value(name, scope, takes) for name in node.output if name]
    return tuple(found)


def dequantize_of(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear that a value comes from, None where it comes from elsewhere."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == "DequantizeLinear" else None


@lru_cache(maxsize=1 << 14)  # asked of every node by each pass
def scope_of(node: str) -> str:
    """`layers.1.blocks.0.attn.qkv` for the node `/layers.1/blocks.0/attn/qkv/Gemm`, "" without a path."""
    return path_of(node).strip("/").replace("/", ".") if node.startswith("/") else ""


def path_of(name: str) -> str:
    """`/patch_embed/proj.1` of `/patch_embed/proj/proj.1/Conv_output_0`: a Sequential is named twice."""
    return re.sub(r"/([^/]+)(?=/\1\.\d)", "", name.rpartition("/")[0])


def showing(proto: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """A copy of a graph that gives these values too, with the types that shape inference finds."""
    import onnx_ir as ir

    from slide_export.graph.convert import to_ir, to_proto
    from slide_export.graph.shapes import infer

    model = to_ir(proto)
    infer(model)
    values = ir.convenience.create_value_mapping(model.graph)
    shown = (values[name] for name in dict.fromkeys(names))
    model.graph.outputs.extend([value for value in shown if not value.is_graph_output()])
    return to_proto(model)


def beside(proto: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """A copy of a graph that gives these values too, in float64: each comes from a cast of its own.

    ONNX Runtime (1.32) moves a layer's Q/DQ across the transpose before it onto what the transpose takes; were that an
    output of the graph, it would be given rounded: a LayerNorm that is off by nothing at 44 dB. A cast is not moved.

        Given    x -> LayerNormalization -> n -> Transpose -> ...                    names: n
        Result   x -> LayerNormalization -> n_inside -> Transpose -> ...
                                            n_inside -> Cast -> n, float64, an output
    """
    import onnx_ir as ir

    from slide_export.graph.convert import to_ir, to_proto

    model = to_ir(proto)
    values = ir.convenience.create_value_mapping(model.graph)
    for name in dict.fromkeys(names):
        if (value := values[name]).is_graph_output():
            continue
        value.name = f"{name}{INSIDE}"
        cast = ir.node("Cast", [value], {"to": int(ir.DataType.DOUBLE)}, name=f"{value.name}/Cast")
        (shown,) = cast.outputs
        shown.name, shown.type = name, ir.TensorType(ir.DataType.DOUBLE)
        model.graph.append(cast)
        model.graph.outputs.append(shown)
    return to_proto(model)
