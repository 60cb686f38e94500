"""onnxsim folds, keeps the function, and its failure is one sentence."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from slide_export.core.errors import ExportError
from slide_export.graph.passes.simplify import simplify


def foldable() -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])
    two = numpy_helper.from_array(np.array([2.0], np.float32), "two")
    nodes = [helper.make_node("Mul", ["two", "two"], ["four"]), helper.make_node("Mul", ["x", "four"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y], [two])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_constants_are_folded_and_the_function_stays() -> None:
    simplified = simplify(foldable())
    assert [node.op_type for node in simplified.graph.node] == ["Mul"]
    session = onnxruntime.InferenceSession(simplified.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.arange(3, dtype=np.float32)})[0].tolist() == [0, 4, 8]


def test_a_failure_is_an_export_error() -> None:
    broken = foldable()
    broken.graph.node[0].input[0] = "nowhere"
    with pytest.raises(ExportError, match="onnxsim"):
        simplify(broken)
