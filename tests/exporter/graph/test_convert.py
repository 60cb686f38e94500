"""Protobuf to onnx_ir and back is the same bytes, and an edit reaches no shared tensor."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from slide_export.graph.convert import rename, to_ir, to_proto


def graph() -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("x", "y"))
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.float32(2))),
        helper.make_node("Mul", ["x", "c"], ["m"], name="/a/Mul"),
        helper.make_node("Clip", ["m", "", "w"], ["y"]),
    ]
    weights = [helper.make_tensor("w", TensorProto.FLOAT, [], [3.0])]  # not in raw bytes
    proto = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], weights), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    proto.doc_string = proto.producer_version = proto.graph.doc_string = ""  # there, and empty
    helper.set_model_props(proto, {"variant": "v", "labels": "l", "a": "b"})  # not in the order of the alphabet
    return onnx.shape_inference.infer_shapes(proto)


def test_there_and_back_is_the_same_bytes() -> None:
    proto = graph()
    assert to_proto(to_ir(proto)).SerializeToString(deterministic=True) == proto.SerializeToString(deterministic=True)


def test_a_renamed_weight_and_a_renamed_constant_leave_the_source_alone() -> None:
    proto = graph()
    model = to_ir(proto)
    rename(model.graph.initializers["w"], "renamed")
    constant = model.graph[0].attributes["value"].as_tensor()
    constant.name = "renamed too"
    made = to_proto(model)
    assert proto == graph()
    assert made.graph.initializer[0].name == made.graph.node[2].input[2] == "renamed"
    assert numpy_helper.to_array(made.graph.initializer[0]) == 3
