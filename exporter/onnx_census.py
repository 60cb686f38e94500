"""What an ONNX graph stores and computes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from slide_export.types import Census

if TYPE_CHECKING:
    import onnx

HEAVY = frozenset({"Conv", "Gemm", "MatMul"})


def count(proto: onnx.ModelProto) -> Census:
    """Returns the types of the initializers and, of each convolution and matrix product, of its first input."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(proto).graph
    stored: Counter[str] = Counter()
    for tensor in graph.initializer:
        stored[_type_name(tensor.data_type)] += len(tensor.raw_data)
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    types |= {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input)}
    computed = Counter(_type_name(types[node.input[0]]) for node in graph.node if node.op_type in HEAVY)
    return Census(dict(stored), dict(computed))


def _type_name(element: int) -> str:
    from onnx import helper

    return str(helper.tensor_dtype_to_np_dtype(element))
