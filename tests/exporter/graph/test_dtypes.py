"""A graph of known sizes is counted."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from slide_export.graph import dtypes as onnx_census


def test_weights_and_products_are_counted_by_type() -> None:
    weights = {
        "half": np.ones((4, 3, 1, 1), np.float16),
        "full": np.ones((4, 4, 1, 1), np.float32),
        "shape": np.array([1, 4, 25], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["images", "half"], ["a"]),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.FLOAT),  # its type is inferred, nobody states it
        helper.make_node("Conv", ["b", "full"], ["c"]),
        helper.make_node("Reshape", ["c", "shape"], ["d"]),
        helper.make_node("Transpose", ["d"], ["e"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["d", "e"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mixed",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT16, [1, 3, 5, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 4])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    census = onnx_census.count(helper.make_model(graph))
    assert census.stored == {"float16": 2 * 12, "float32": 4 * 16, "int64": 8 * 3}
    assert census.computed == {"float16": 1, "float32": 2}
    assert census.fixed


def test_a_weight_that_stands_first_has_its_own_type() -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["w", "x"], ["y"])],
        "left",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [2, 2])],
        [numpy_helper.from_array(np.eye(2), "w")],
    )
    assert onnx_census.count(helper.make_model(graph)).computed == {"float64": 1}


def test_products_between_dequantizations_are_8_bit_ones() -> None:
    weights = {"w": np.ones((4, 4), np.int8), "s": np.float32(0.5), "z": np.int8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["dw"]),
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["dx"]),
        helper.make_node("MatMul", ["dx", "dw"], ["a"]),  # whole
        helper.make_node("MatMul", ["a", "dw"], ["b"]),  # weights alone
        helper.make_node("MatMul", ["b", "a"], ["y"]),  # neither
    ]
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    graph.initializer[1].CopyFrom(helper.make_tensor("s", TensorProto.FLOAT, [], [0.5]))  # not in raw bytes
    census = onnx_census.count(helper.make_model(graph))
    assert census.stored == {"int8": 16 + 1, "float32": 4}
    assert census.computed == {"int8": 1, "float32": 2}
    assert census.marked == 2
