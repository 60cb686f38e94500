"""A graph of known sizes is counted."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from slide_export.core.artifact import DtypeStats
from slide_export.graph import dtypes as onnx_census
from slide_export.graph.dtypes import ASKED_IN_FLOAT32, KEPT_FLOAT32


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
        helper.make_node("MatMul", ["dx", "dw"], ["b"]),  # whole
        helper.make_node("MatMul", ["dx", "dx"], ["c"]),  # whole, of two activations: no weight is marked
        helper.make_node("MatMul", ["a", "dw"], ["d"]),  # weights alone
        helper.make_node("MatMul", ["b", "a"], ["e"]),  # neither
        helper.make_node("Sum", ["c", "d", "e"], ["y"]),
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
    assert census.computed == {"int8": 3, "float32": 2}
    assert census.marked == 3


def products(*nodes: onnx.NodeProto, kept: str = "") -> DtypeStats:
    """Count a graph of nodes from the float `x` [4, 4] to `y`, with a float weight `w` and an integer one `i`."""
    stored = [
        numpy_helper.from_array(np.ones((4, 4), kind), name) for name, kind in (("w", np.float32), ("i", np.int8))
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y"))
    proto = helper.make_model(helper.make_graph(nodes, "products", [x], [y], stored))
    if kept:
        helper.set_model_props(proto, {KEPT_FLOAT32: kept})
    return onnx_census.count(proto)


def test_a_product_of_integers_computes_in_8_bits() -> None:
    found = products(
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "i", "zero"], ["a"]),  # with weights
        helper.make_node("MatMulInteger", ["q", "q", "zero", "zero"], ["y"]),  # of activations
    )
    assert (found.computed, found.marked) == ({"int8": 2}, 1)


def test_what_sorts_is_not_counted() -> None:
    """A module with `rounds` of TopK gathers by products with ones and zeros, in float32 in every precision."""
    found = products(
        helper.make_node("TopK", ["x", "k"], ["v", "n"], "/attn/sort/rounds.0/TopK"),
        helper.make_node("MatMul", ["x", "w"], ["a"], "/attn/sort/MatMul"),
        helper.make_node("MatMul", ["a", "w"], ["y"], "/attn/MatMul"),
    )
    assert found.computed == {"float32": 1}
    assert products(helper.make_node("MatMul", ["x", "w"], ["y"], "/attn/sort/rounds.0/MatMul")).computed == {
        "float32": 1
    }


def test_what_was_asked_for_in_float32_is_counted_apart() -> None:
    nodes = (
        helper.make_node("Cast", ["x"], ["h"], "/a/Cast", to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["h", "h"], ["b"], "/a/MatMul"),  # not in float32, though it was asked for
        helper.make_node("MatMul", ["x", "w"], ["c"], "/b.1/MatMul"),
        helper.make_node("MatMul", ["c", "w"], ["y"], "/d/MatMul"),
    )
    assert products(*nodes, kept="a b.1").computed == {"float16": 1, ASKED_IN_FLOAT32: 1, "float32": 1}
    assert products(*nodes).computed == {"float16": 1, "float32": 2}
