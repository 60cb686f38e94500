"""What an ONNX graph stores and computes."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from slide_export.core.artifact import DtypeStats

if TYPE_CHECKING:
    import numpy as np
    import onnx

HEAVY = frozenset({"Conv", "Gemm", "MatMul"})


def count(proto: onnx.ModelProto) -> DtypeStats:
    """Returns the types of the initializers and, of each convolution and matrix product, of its first input.

    A product computes in 8 bits where both its inputs come from a DequantizeLinear, as every runtime reads it.
    `proto` is used up: its large weights are taken out, since shape inference would copy them several times.
    """
    from onnx import shape_inference

    from .passes.weights import set_aside

    stored: Counter[str] = Counter()
    for tensor in proto.graph.initializer:
        kind = _type(tensor.data_type)
        stored[str(kind)] += math.prod(tensor.dims) * kind.itemsize  # not every library writes raw bytes
    weights = {tensor.name for tensor in proto.graph.initializer}
    dequantized = {node.output[0]: node for node in proto.graph.node if node.op_type == "DequantizeLinear"}
    set_aside(proto)
    graph = shape_inference.infer_shapes(proto).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    values = (*graph.value_info, *graph.input, *graph.output)  # a stage's map is an output that the next stage reads
    types |= {value.name: value.type.tensor_type.elem_type for value in values}
    computed: Counter[str] = Counter()
    marked = 0
    for node in graph.node:
        if node.op_type in HEAVY:
            weight = dequantized.get(node.input[1])
            marked += weight is not None and weight.input[0] in weights
            whole = weight is not None and node.input[0] in dequantized
            computed["int8" if whole else str(_type(types[node.input[0]]))] += 1
    return DtypeStats(dict(stored), dict(computed), marked=marked)


def _type(element: int) -> np.dtype[Any]:
    from onnx import helper

    return helper.tensor_dtype_to_np_dtype(element)
