"""Names lose the wrapper that the model is traced in, and no two values become one."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from slide_export.graph.convert import to_ir, to_proto
from slide_export.graph.passes.unwrap import Unwrap


def wrapped() -> onnx.ModelProto:
    """A graph in which the wrapper and the model both hold a constant of the same name."""
    nodes = [
        helper.make_node("Constant", [], ["/Constant_output_0"], value=numpy_helper.from_array(np.float32(2))),
        helper.make_node("Mul", ["images", "/Constant_output_0"], ["/Mul_output_0"]),
        helper.make_node("Constant", [], ["/module/Constant_output_0"], value=numpy_helper.from_array(np.float32(3))),
        helper.make_node("Mul", ["/Mul_output_0", "/module/Constant_output_0"], ["/module/head/Mul_output_0"]),
        helper.make_node("Add", ["/module/head/Mul_output_0", "module.head.bias"], ["logits"]),
    ]
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("images", "logits")]
    weights = [
        numpy_helper.from_array(np.ones(2, np.float32), "module.head.bias"),
        numpy_helper.from_array(np.ones(2, np.float32), "other"),
    ]
    graph = helper.make_graph(nodes, "g", kinds[:1], kinds[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_models_names_are_its_own_and_equal_ones_stay_apart() -> None:
    proto = wrapped()
    result = Unwrap()(to_ir(proto))
    made = to_proto(result.model)
    assert result.modified
    assert [name for node in made.graph.node for name in node.output] == [
        "/Constant_output_0",
        "/Mul_output_0",
        "/Constant_output_0_",
        "/head/Mul_output_0",
        "logits",
    ]
    assert [tensor.name for tensor in made.graph.initializer] == ["head.bias", "other"]
    assert proto == wrapped()


def test_it_computes_the_same() -> None:
    made = to_proto(Unwrap()(to_ir(wrapped())).model)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"images": np.array([1, 2], np.float32)})[0].tolist() == [7, 13]


def test_names_without_a_wrapper_are_left() -> None:
    result = Unwrap()(Unwrap()(to_ir(wrapped())).model)
    assert not result.modified
