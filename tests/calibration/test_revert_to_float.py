"""A module kept in a quantized graph computes as if it had never been quantized."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from slide_export.calibration.quantizers import quantize
from slide_export.calibration.recipe import default
from slide_export.calibration.revert_to_float import keep_float
from slide_export.core.graph import OnnxGraph
from slide_export.graph.convert import to_ir
from slide_export.graph.export import specs

RNG = np.random.default_rng(0)
IMAGES = [{"x": RNG.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(4)]
LAYERS = ("embed.proj", "blocks.0.fc1", "blocks.0.fc2")


@pytest.fixture(scope="module")
def full() -> OnnxGraph:
    """A convolution, and two linear layers on its transposed result."""
    weights = {
        "embed.proj.weight": RNG.normal(size=(8, 3, 4, 4)),
        "embed.proj.bias": RNG.normal(size=8),
        "blocks.0.fc1.weight": RNG.normal(size=(8, 16)),
        "blocks.0.fc2.weight": RNG.normal(size=(16, 8)),
    }
    conv = ["x", "embed.proj.weight", "embed.proj.bias"]
    nodes = [
        helper.make_node("Conv", conv, ["map"], name="/embed/proj/Conv", strides=[4, 4]),
        helper.make_node("Transpose", ["map"], ["last"], name="/embed/Transpose", perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["last", "blocks.0.fc1.weight"], ["h"], name="/blocks.0/fc1/MatMul"),
        helper.make_node("Relu", ["h"], ["r"], name="/blocks.0/Relu"),
        helper.make_node("MatMul", ["r", "blocks.0.fc2.weight"], ["y"], name="/blocks.0/fc2/MatMul"),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2, 2, 8])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return OnnxGraph(onnx.shape_inference.infer_shapes(proto), specs(graph.input), specs(graph.output))


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def quantized(request: pytest.FixtureRequest, full: OnnxGraph) -> OnnxGraph:
    recipe = default(request.param, "int8").resolved()
    return quantize(full, IMAGES, recipe)


def run(graph: OnnxGraph) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(graph.proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, feeds)[0] for feeds in IMAGES])


def weights_in_float(graph: OnnxGraph) -> set[str]:
    return {tensor.name for tensor in graph.proto.graph.initializer if tensor.name.endswith("weight")}


def test_all_kept_is_the_graph_before(full: OnnxGraph, quantized: OnnxGraph) -> None:
    found = keep_float(quantized, to_ir(full.proto), ["embed", "blocks.*"])
    assert np.array_equal(run(found), run(full))
    assert not any("Linear" in node.op_type for node in found.proto.graph.node)
    onnx.checker.check_model(found.proto)


def test_none_kept_is_the_quantized_graph(full: OnnxGraph, quantized: OnnxGraph) -> None:
    assert np.array_equal(run(keep_float(quantized, to_ir(full.proto), [])), run(quantized))
    assert not np.array_equal(run(quantized), run(full))


@pytest.mark.parametrize("layer", LAYERS)
def test_one_kept_has_its_weight_back_and_less_error(layer: str, full: OnnxGraph, quantized: OnnxGraph) -> None:
    before = quantized.proto.SerializeToString(deterministic=True)
    found = keep_float(quantized, to_ir(full.proto), [layer])
    onnx.checker.check_model(found.proto)
    assert weights_in_float(found) == {f"{layer}.weight"}
    assert np.abs(run(found) - run(full)).mean() < np.abs(run(quantized) - run(full)).mean()
    assert quantized.proto.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("layer", LAYERS)
def test_all_but_one_kept_is_that_layer_alone(layer: str, full: OnnxGraph, quantized: OnnxGraph) -> None:
    others = [other for other in LAYERS if other != layer]
    found = keep_float(quantized, to_ir(full.proto), others)
    assert weights_in_float(found) == {f"{other}.weight" for other in others}
    assert 0 < np.abs(run(found) - run(full)).mean() < np.abs(run(full)).mean() / 10
