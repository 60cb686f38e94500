"""Values of a graph by module, and a graph that shows them."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from slide_export.backends.interface import Value
from slide_export.graph.values import beside, scope_of, showing, values


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


def test_a_convolution_owns_its_quantized_result_and_no_other_layer_its_input() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["/embed/embed.0/c"], name="/embed.0/Conv"),
        helper.make_node("QuantizeLinear", ["/embed/embed.0/c", "s"], ["q"], name="/embed/embed.0/c_QuantizeLinear"),
        helper.make_node("DequantizeLinear", ["q", "s"], ["d"], name="/embed/embed.0/c_DequantizeLinear"),
        helper.make_node("Relu", ["d"], ["r"], name="/embed.1/Relu"),
        helper.make_node("QuantizeLinear", ["r", "s"], ["rq"], name="r_QuantizeLinear"),
    ]
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "rq")]
    found = values(helper.make_model(helper.make_graph(nodes, "test", kinds[:1], kinds[1:])))
    assert [value.scope for value in found] == ["embed.0", "embed.0", "embed.0", "embed.1", None]


def test_a_shown_value_is_an_output(proto: onnx.ModelProto) -> None:
    shown = showing(proto, ["m", "y"])
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.array([[1, 3]], np.float32)
    y, m = session.run(["y", "m"], {"x": x})
    assert (m.tolist(), y.tolist()) == ([[2, 6]], [[3, 7]])
    assert len(proto.graph.output) == 1


def quantized() -> onnx.ModelProto:
    """Returns a ReLU and a transpose, whose result is quantized for a convolution: ONNX Runtime swaps the last two."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="/norm/Relu"),
        helper.make_node("Transpose", ["r"], ["t"], name="/conv/Transpose", perm=[0, 3, 1, 2]),
        helper.make_node("QuantizeLinear", ["t", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "scale", "signed"], ["dw"]),
        helper.make_node("Conv", ["d", "dw"], ["y"], name="/conv/Conv"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 4, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 4, 4])
    held = {"scale": np.float32(0.1), "zero": np.uint8(0), "signed": np.int8(0), "w": np.ones((3, 2, 1, 1), np.int8)}
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "test", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_value_beside_is_not_rounded_for_the_layer_that_takes_it() -> None:
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 2)).astype(np.float32)
    found = {}
    for show in (showing, beside):
        session = onnxruntime.InferenceSession(
            show(quantized(), ["r"]).SerializeToString(), providers=["CPUExecutionProvider"]
        )
        found[show] = np.abs(session.run(["r"], {"x": x})[0] - np.maximum(x, 0)).max()
    assert found[showing] > 0.01  # the fault of the runtime that `beside` is for; if this fails, it is not needed
    assert found[beside] == 0


def test_values_beside_leave_the_outputs_as_they_are(proto: onnx.ModelProto) -> None:
    session = onnxruntime.InferenceSession(
        beside(proto, ["m", "y"]).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    y, m = session.run(["y", "m"], {"x": np.array([[1, 3]], np.float32)})
    assert (m.tolist(), y.tolist(), m.dtype, y.dtype) == ([[2, 6]], [[3, 7]], np.float64, np.float32)


@pytest.mark.parametrize(
    ("node", "scope"),
    [
        ("/layers.0/blocks.1/attn/qkv/Gemm", "layers.0.blocks.1.attn.qkv"),
        ("/block1/block1.0/attn/q/Conv_output_0", "block1.0.attn.q"),
        ("/layers.1/blocks.0/attn/qkv/Gemm_2", "layers.1.blocks.0.attn.qkv"),
        ("MatMul", ""),
        ("/ReduceMean", ""),
        ("logits/Cast", ""),
    ],
)
def test_scopes(node: str, scope: str) -> None:
    assert scope_of(node) == scope
