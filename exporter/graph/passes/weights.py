"""Large weights stand aside while the passes run, as inputs of the graph: their types and shapes are all these need.

onnxsim, the checker and shape inference each copy the whole model several times: without this, Slide-Swin-B takes
2.8 GiB in them, with it the weights are copied once.
"""

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper

LARGE = 2**16  # bytes; what is folded into shapes, axes and small constants stays


def set_aside(proto: onnx.ModelProto) -> tuple[TensorProto, ...]:
    """Returns the large initializers after making inputs of them in `proto`, which is changed in place."""
    initializers = proto.graph.initializer
    large = tuple(tensor for tensor in initializers if len(tensor.raw_data) > LARGE)
    for index in reversed(range(len(initializers))):
        if len(initializers[index].raw_data) > LARGE:
            del initializers[index]
    proto.graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in large)
    return large


def put_back(proto: onnx.ModelProto, large: Sequence[TensorProto]) -> onnx.ModelProto:
    """Returns the graph with those of its inputs that are weights as initializers again, unused ones dropped."""
    names = {tensor.name for tensor in large}
    used = {name for node in proto.graph.node for name in node.input}
    inputs = [value for value in proto.graph.input if value.name not in names]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    proto.graph.initializer.extend(tensor for tensor in large if tensor.name in used)
    return proto
