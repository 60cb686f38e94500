"""A reshape that leaves the batch alone says so, and computes what it did."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from slide_export.graph.convert import to_ir, to_proto
from slide_export.graph.passes.keep_batch import KeepBatch


def reshapes(*shapes: list[int]) -> onnx.ModelProto:
    """A graph of reshapes one after the other, from [batch, 4, 6] on."""
    names = ["x", *(f"y{index}" for index in range(len(shapes)))]
    nodes = [
        helper.make_node("Reshape", [names[index], f"s{index}"], [names[index + 1]]) for index in range(len(shapes))
    ]
    graph = helper.make_graph(
        nodes,
        "reshapes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4, 6])],
        [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(shape), f"s{index}") for index, shape in enumerate(shapes)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def keep_batch(proto: onnx.ModelProto) -> onnx.ModelProto:
    return to_proto(KeepBatch()(to_ir(proto)).model)


def batch_of(proto: onnx.ModelProto, value: str) -> str:
    (found,) = (info for info in (*proto.graph.value_info, *proto.graph.output) if info.name == value)
    return found.type.tensor_type.shape.dim[0].dim_param


def test_the_batch_keeps_its_name() -> None:
    kept = keep_batch(reshapes([-1, 24], [-1, 2, 12]))
    assert [batch_of(kept, name) for name in ("y0", "y1")] == ["batch", "batch"]


def test_a_reshape_that_takes_the_batch_apart_stays() -> None:
    kept = keep_batch(reshapes([-1, 6]))
    assert [numpy_helper.to_array(tensor).tolist() for tensor in kept.graph.initializer] == [[-1, 6]]


@pytest.mark.parametrize(("shape", "modified"), [([-1, 24], True), ([0, 24], False), ([-1, 6], False), ([4, 6], False)])
def test_it_says_whether_it_changed_anything(shape: list[int], modified: bool) -> None:
    assert KeepBatch()(to_ir(reshapes(shape))).modified is modified


def test_a_shape_with_two_users_is_rewritten_for_the_one_that_leaves_the_batch_alone() -> None:
    proto = reshapes([-1, 24], [-1, 2, 12])
    proto.graph.node[1].input[1] = "s0"  # from [batch, 24] to itself
    proto.graph.node.add(op_type="Reshape", input=["s1", "s0"], output=["other"])  # [3] is no batch of anything
    proto.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.arange(24), "s1"))
    proto.graph.output[0].name = "other"
    kept = keep_batch(proto)
    shapes = {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in kept.graph.initializer}
    assert [shapes[node.input[1]] for node in kept.graph.node] == [[0, 24], [0, 24], [-1, 24]]


def test_the_values_are_the_same() -> None:
    x = np.arange(72, dtype=np.float32).reshape(3, 4, 6)
    before, after = (
        onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})[0]
        for proto in (reshapes([-1, 3, 8], [-1, 2]), keep_batch(reshapes([-1, 3, 8], [-1, 2])))
    )
    assert np.array_equal(before, after)
