"""What a graph stores, as a runtime expands it; OpenVINO expands the IR of the same graph to the same values."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from slide_export.backends import openvino
from slide_export.backends.interface import LoweringOptions
from slide_export.backends.registry import complete_options
from slide_export.core.artifact import ModelIO
from slide_export.core.graph import OnnxGraph
from slide_export.core.precision import INT8
from slide_export.core.stored import StoredConstant
from slide_export.graph.export import specs
from slide_export.graph.stored import _along, tensors

DATA = np.array([[-128, 5, 127], [1, 2, 3]], np.int8)
SCALE = np.array([0.5, 0.25, 0.125], np.float32)
ZERO = np.array([1, 0, 0], np.int8)
BIAS = np.array([0.1, 0.2, 0.3], np.float32)
EXPANDED = (DATA.astype(np.float64) - ZERO) * SCALE


@pytest.fixture
def graph() -> OnnxGraph:
    """Images -> Q -> DQ -> MatMul(DQ(weight)) -> Add(bias) -> LayerNormalization."""
    values = {"w_quantized": DATA, "w_scale": SCALE, "w_zero": ZERO, "bias": BIAS, "x_scale": np.float32(0.1)}
    values |= {"x_zero": np.uint8(3), "gain": np.ones(3, np.float32)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "x_scale", "x_zero"], ["d"], "d"),
        helper.make_node("DequantizeLinear", ["w_quantized", "w_scale", "w_zero"], ["w"], "w", axis=1),
        helper.make_node("MatMul", ["d", "w"], ["m"], "/fc/MatMul"),
        helper.make_node("Add", ["m", "bias"], ["a"], "/fc/Add"),
        helper.make_node("LayerNormalization", ["a", "gain"], ["y"], "/norm/LayerNormalization", epsilon=1e-3),
    ]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, size]) for name, size in (("x", 2), ("y", 3))
    ]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    proto = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], stored), opset_imports=[helper.make_opsetid("", 17)]
    )
    onnx.checker.check_model(proto)
    return OnnxGraph(proto, specs(proto.graph.input), specs(proto.graph.output))


def by_name(found: list[StoredConstant]) -> dict[str, StoredConstant]:
    return {tensor.name: tensor for tensor in found}


def test_weights_are_expanded_and_ranges_of_activations_left_out(graph: OnnxGraph) -> None:
    found = by_name(list(tensors(graph.proto)))
    assert np.array_equal(found["w_quantized"].values, EXPANDED)
    assert found["bias"].module == "fc"
    assert np.array_equal(found["bias"].values, BIAS)
    assert not {"w_scale", "w_zero", "x_scale", "x_zero"} & found.keys()


def test_an_epsilon_is_a_constant_too(graph: OnnxGraph) -> None:
    found = by_name(list(tensors(graph.proto)))
    name = "/norm/LayerNormalization:LayerNormalization.epsilon"
    assert found[name].values == pytest.approx(1e-3)


def test_openvino_expands_the_same_weight(graph: OnnxGraph, tmp_path: Path) -> None:
    options = LoweringOptions(INT8, ModelIO(batch=2), complete_options("openvino", {}))
    artifact = openvino.lower(graph, tmp_path, options)
    found = by_name(list(openvino.stored(artifact.path, artifact.settings)))
    assert np.array_equal(found["w_quantized"].values, EXPANDED)
    assert "w_scale" not in found


@pytest.mark.parametrize(
    ("scale", "shape", "axis", "expected"),
    [
        ((3,), (2, 3), 1, (1, 3)),
        ((2,), (2, 3), -2, (2, 1)),
        ((4, 6), (4, 5, 6), 1, (4, 1, 6)),
        ((2, 2), (2, 4), 1, (2, 4)),
    ],
)
def test_scales_go_along_their_axis(
    scale: tuple[int, ...], shape: tuple[int, ...], axis: int, expected: tuple[int, ...]
) -> None:
    assert _along(np.ones(scale), shape, axis).shape == expected
