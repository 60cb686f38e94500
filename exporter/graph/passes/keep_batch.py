"""Says of every reshape that leaves the batch alone that it does.

The tracer writes `reshape(-1, ...)` as it was called, and shape inference then knows nothing of the batch behind it.
With `0`, which copies a size, the batch keeps its name through the whole graph. ONNX Runtime needs that: it keeps the
operands of an element-wise operator in its blocked layout only where it can tell that their shapes are equal.
"""

import numpy as np
import onnx
from onnx import numpy_helper

UNKNOWN, COPY = -1, 0


def keep_batch(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the graph with the shapes of its values inferred anew, the batch by name wherever it is first."""
    shapes = _shapes(proto)
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    for index, node in enumerate(proto.graph.node):
        if node.op_type != "Reshape" or node.input[1] not in constants:
            continue
        wanted = numpy_helper.to_array(constants[node.input[1]])
        if _leaves_batch(shapes.get(node.input[0]), wanted):
            name = f"shape_{index}"
            proto.graph.initializer.append(numpy_helper.from_array(np.array([COPY, *wanted[1:]]), name))
            node.input[1] = name
    _drop_unused(proto.graph)
    del proto.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)


def _shapes(proto: onnx.ModelProto) -> dict[str, list[int]]:
    """Returns the shape of each value whose rank is known, 0 for an unknown size."""
    graph = onnx.shape_inference.infer_shapes(proto).graph
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input)
        if value.type.tensor_type.HasField("shape")
    }


def _leaves_batch(shape: list[int] | None, wanted: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]") -> bool:
    """Returns whether all but the first size are known and hold as many elements as before."""
    if not shape or wanted[0] != UNKNOWN or 0 in shape[1:]:
        return False
    return int(np.prod(shape[1:])) == int(np.prod(wanted[1:]))


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in used:
            del graph.initializer[index]
