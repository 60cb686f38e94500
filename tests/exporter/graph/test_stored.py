"""What a graph stores, as a runtime expands it; OpenVINO expands the IR of the same graph to the same values."""

from pathlib import Path
from typing import Any

import ml_dtypes
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
from slide_export.core.stored import SLACK, StoredConstant
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


def constants(*nodes: onnx.NodeProto, **stored: Any) -> dict[str, StoredConstant]:
    """The constants of a graph of these nodes; its types are not looked at."""
    tensors_ = [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()]
    return by_name(list(tensors(helper.make_model(helper.make_graph(nodes, "g", [], [], tensors_)))))


def scaled_later(weight: str) -> list[onnx.NodeProto]:
    """What ONNX Runtime's dynamic quantization makes of a MatMul."""
    return [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "x_scale", "x_zero"], "quantize"),
        helper.make_node("MatMulInteger", ["q", weight, "x_zero", "zero"], ["integers"], "/fc/MatMul_quant"),
        helper.make_node("Cast", ["integers"], ["floats"], "cast", to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["x_scale", "scale"], ["both"], "scales_mul"),
        helper.make_node("Mul", ["floats", "both"], ["y"], "output_scale_mul"),
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_integers_that_are_scaled_after_their_product_are_expanded(turned: bool) -> None:
    weight = "w_Transposed_quantized" if turned else "w_quantized"
    found = constants(*scaled_later(weight), **{weight: DATA}, scale=SCALE, zero=ZERO)
    assert np.array_equal(found[weight].values, EXPANDED.T if turned else EXPANDED)
    assert (found[weight].stored, found[weight].module) == ("int8", "fc")
    assert not {"scale", "zero"} & found.keys()


def test_a_cast_of_integers_is_expanded_with_the_scale_behind_it() -> None:
    found = constants(
        helper.make_node("Cast", ["w"], ["floats"], "/embed/Cast", to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["y"], "/embed/Mul"),
        helper.make_node("Cast", ["flags"], ["floats2"], "/other/Cast", to=onnx.TensorProto.FLOAT),
        w=DATA, scale=SCALE, flags=np.array([1, 2], np.int64),
    )  # fmt: skip
    assert np.array_equal(found["w"].values, DATA * SCALE.astype(np.float64))
    assert np.array_equal(found["flags"].values, [1, 2])
    assert "scale" not in found


@pytest.mark.parametrize(
    ("rest", "attributes", "expected"),
    [
        (["scale"], {}, DATA * SCALE.astype(np.float64)),  # no zero point; the axis is 1 where nothing is said
        (["scale", ""], {}, DATA * SCALE.astype(np.float64)),
        (["scale", "zero"], {"block_size": 0}, EXPANDED),
        (["rows"], {"axis": 0}, DATA * np.array([[2.0], [4.0]])),
    ],
)
def test_8_bit_weights_may_have_no_zero_point_and_no_axis(
    rest: list[str], attributes: dict[str, int], expected: np.ndarray
) -> None:
    node = helper.make_node("DequantizeLinear", ["w", *rest], ["y"], "/fc/weight", **attributes)
    found = constants(node, w=DATA, scale=SCALE, zero=ZERO, rows=np.float32([2, 4]))
    assert np.array_equal(found["w"].values, expected)


def test_constant_nodes_are_constants_by_what_they_give() -> None:
    given = numpy_helper.from_array(np.float32([1.5, 2.5]), "inner")
    found = constants(
        helper.make_node("Constant", [], ["table"], "/a/Constant", value=given),
        helper.make_node("Constant", [], ["number"], "/a/Constant_1", value_float=3.0),
        helper.make_node("Add", ["table", "number"], ["y"], "/a/Add"),
    )
    assert found.keys() == {"table"}
    assert found["table"].values.tolist() == [1.5, 2.5]
    assert found["table"].module == "a"


@pytest.mark.parametrize(
    ("kind", "step"), [("float32", 2.0**-23), ("float16", 2.0**-10), ("bfloat16", 2.0**-7), ("int64", 0.0)]
)
def test_a_number_may_lie_half_a_step_of_its_type_beside_what_is_stored(kind: str, step: float) -> None:
    values = np.array([1, 1]).astype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)
    found = constants(helper.make_node("Identity", ["v"], ["y"], "/a/Identity"), v=values)["v"]
    assert (found.stored, found.module) == (kind, "a")
    assert found.above == pytest.approx((0.5 + SLACK) * step)


@pytest.mark.parametrize(
    ("scale", "shape", "axis", "expected"),
    [
        ((3,), (2, 3), 1, (1, 3)),
        ((2,), (2, 3), -2, (2, 1)),
        ((4, 6), (4, 5, 6), 1, (4, 1, 6)),
        ((2, 2), (2, 4), 1, (2, 4)),
        ((2, 3), (2, 7), 1, (2, 7)),
        ((1, 2), (3, 4), 1, (3, 4)),
        ((1,), (2, 3), 1, ()),
        ((1, 1), (2, 3), 1, ()),
        ((), (2, 3), 1, ()),
    ],
)
def test_scales_go_along_their_axis(
    scale: tuple[int, ...], shape: tuple[int, ...], axis: int, expected: tuple[int, ...]
) -> None:
    assert _along(np.ones(scale), shape, axis).shape == expected


@pytest.mark.parametrize(("width", "second"), [(4, [1, 1, 2, 2]), (7, [1, 1, 1, 2, 2, 2, 3])])
def test_a_scale_of_a_block_is_that_of_each_of_its_values(width: int, second: list[int]) -> None:
    blocks = np.arange(1, 1 + max(second))
    found = _along(np.stack([blocks * 10, blocks]), (2, width), 1)
    assert found.tolist() == [[10 * value for value in second], second]
