"""Values of a graph by module, and a graph that shows them."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from slide_export.backends import Value
from slide_export.onnx_inside import scope_of, showing, values


@pytest.fixture
def proto() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Constant", [], ["two"], name="/a/Constant", value=numpy_helper.from_array(np.float32(2))),
        helper.make_node("Mul", ["x", "two"], ["m"], name="/a/Mul"),
        helper.make_node("Add", ["m", "w"], ["y"], name="/blocks.0/fc/Add"),
    ]
    kind = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("x", "y")]
    weights = [numpy_helper.from_array(np.ones(2, np.float32), "w")]
    graph = helper.make_graph(nodes, "test", kind[:1], kind[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_values_that_depend_on_an_input(proto: onnx.ModelProto) -> None:
    assert values(proto) == (Value("m", "a", ("x",)), Value("y", "blocks.0.fc", ("m",)))


def test_a_shown_value_is_an_output(proto: onnx.ModelProto) -> None:
    shown = showing(proto, ["m", "y"])
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.array([[1, 3]], np.float32)
    y, m = session.run(["y", "m"], {"x": x})
    assert (m.tolist(), y.tolist()) == ([[2, 6]], [[3, 7]])
    assert len(proto.graph.output) == 1


@pytest.mark.parametrize(
    ("node", "scope"),
    [("/layers.0/blocks.1/attn/qkv/Gemm", "layers.0.blocks.1.attn.qkv"), ("/ReduceMean", ""), ("logits/Cast", "")],
)
def test_scopes(node: str, scope: str) -> None:
    assert scope_of(node) == scope
