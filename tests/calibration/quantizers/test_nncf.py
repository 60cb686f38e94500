"""The recipe in NNCF's words, and scales as ONNX wants them."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from slide_export.calibration.quantizers.nncf import PlainScales, UnsignedActivations, _parameters
from slide_export.calibration.recipe import QuantizationRecipe, default
from slide_export.graph.convert import to_ir, to_proto

nncf = pytest.importorskip("nncf", reason="NNCF is not installed")

RECIPE = default("openvino", "int8")


def said(**changes: Any) -> Any:
    recipe: QuantizationRecipe = replace(RECIPE, **changes)
    return _parameters(nncf, recipe)


@pytest.mark.parametrize(("activations", "mode"), [("symmetric", "symmetric"), ("asymmetric", "asymmetric")])
def test_activations_have_one_scale_and_weights_are_symmetric(activations: str, mode: str) -> None:
    found = said(activations=activations)
    assert found.activations_quantization_params.mode.value == mode
    assert found.activations_quantization_params.per_channel is False
    assert found.weights_quantization_params.mode.value == "symmetric"


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_scale_for_each_channel_is_the_recipes(per_channel: bool) -> None:
    assert said(per_channel=per_channel).weights_quantization_params.per_channel is per_channel


@pytest.mark.parametrize(
    ("reduce_range", "overflows", "fix"),
    [("on", False, "enable"), ("off", True, "disable"), ("auto", True, "enable"), ("auto", False, "disable")],
)
def test_a_reduced_range_is_an_overflow_fix(reduce_range: str, overflows: bool, fix: str) -> None:
    assert said(reduce_range=reduce_range, cpu_overflows=overflows).overflow_fix.value == fix


@pytest.mark.parametrize(("smooth_quant", "alpha"), [(None, -1), (0.0, 0.0), (0.95, 0.95)])
def test_outliers_move_where_the_recipe_says_how_far(smooth_quant: float | None, alpha: float) -> None:
    """-1 leaves them; 0 is a strength like any other."""
    found = said(smooth_quant=smooth_quant).smooth_quant_alphas
    assert (found.matmul, found.convolution) == (alpha, -1)


@pytest.mark.parametrize("corrected", [True, False])
def test_biases_are_corrected_where_the_recipe_says_so(corrected: bool) -> None:
    assert said(bias_correction=corrected).disable_bias_correction is not corrected


@pytest.mark.parametrize(("percentile", "outside"), [(99.0, 0.01), (99.99, 0.0001)])
def test_a_percentile_leaves_out_as_much_at_both_ends(percentile: float, outside: float) -> None:
    found = said(ranges="percentile", percentile=percentile).activations_range_estimator_params
    for end in (found.min, found.max):
        assert (end.statistics_type.value, end.aggregator_type.value) == ("quantile", "mean")
        assert end.quantile_outlier_prob == pytest.approx(outside, rel=1e-9)


def test_minmax_is_nncfs_own() -> None:
    found = said(ranges="minmax").activations_range_estimator_params
    assert (found.min.statistics_type.value, found.max.statistics_type.value) == ("min", "max")


def dequantizing(weight: tuple[int, ...], scale: tuple[int, ...], **metadata: str) -> onnx.ModelProto:
    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["y"])]
    tensors = [
        numpy_helper.from_array(np.ones(weight, np.int8), "w"),
        numpy_helper.from_array(np.arange(1, 1 + np.prod(scale), dtype=np.float32).reshape(scale), "s"),
    ]
    output = [helper.make_tensor_value_info("y", TensorProto.FLOAT, weight)]
    proto = helper.make_model(
        helper.make_graph(nodes, "g", [], output, tensors), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    helper.set_model_props(proto, metadata)
    return proto


def plain(proto: onnx.ModelProto) -> tuple[list[int], dict[str, int], bool]:
    """Sides of the scale, attributes of its node, and whether anything was said to change."""
    result = PlainScales()(to_ir(proto))
    made = to_proto(result.model)
    scale = next(tensor for tensor in made.graph.initializer if tensor.name == "s")
    attributes = {each.name: helper.get_attribute_value(each) for each in made.graph.node[0].attribute}
    return list(scale.dims), attributes, result.modified


@pytest.mark.parametrize(
    ("weight", "scale", "axis"),
    [((8, 3, 4, 4), (8, 1, 1, 1), 0), ((2, 8), (1, 8), 1), ((2, 3, 8), (1, 1, 8), 2)],
)
def test_a_scale_along_one_axis_has_one_axis(weight: tuple[int, ...], scale: tuple[int, ...], axis: int) -> None:
    assert plain(dequantizing(weight, scale)) == ([8], {"axis": axis}, True)


@pytest.mark.parametrize(("weight", "scale"), [((8, 8), ()), ((8, 8), (8,)), ((8, 8), (8, 8)), ((8, 3), (1,))])
def test_any_other_scale_stays_as_it_is(weight: tuple[int, ...], scale: tuple[int, ...]) -> None:
    assert plain(dequantizing(weight, scale)) == (list(scale), {}, False)


@pytest.mark.parametrize("sides", [(1, 2, 7, 7), (1, 3)])
def test_a_scale_of_one_channel_is_one_number(sides: tuple[int, ...]) -> None:
    """ONNX Runtime and OpenVINO take no scale of several axes."""
    made = dequantizing(sides, (1,) * len(sides))
    assert plain(made) == ([], {}, True)
    session = onnxruntime.InferenceSession(to_proto(PlainScales()(to_ir(made)).model).SerializeToString())
    np.testing.assert_array_equal(session.run(None, {})[0], np.ones(sides, np.float32))


def test_nncfs_record_of_its_call_is_removed_and_no_others() -> None:
    result = PlainScales()(to_ir(dequantizing((8, 8), (8,), **{"nncf/call": "a", "labels": "b"})))
    assert result.modified
    assert dict(result.model.metadata_props) == {"labels": "b"}


def rounded(zero: Any, readers: int = 1) -> onnx.ModelProto:
    """A value that is quantized once and read by some."""
    ends = [f"y{index}" for index in range(readers)]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        *(helper.make_node("DequantizeLinear", ["q", "s", "z"], [end]) for end in ends),
    ]
    tensors = [numpy_helper.from_array(np.float32(0.25), "s"), numpy_helper.from_array(np.asarray(zero), "z")]
    x, *outputs = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [600]) for name in ("x", *ends))
    return helper.make_model(
        helper.make_graph(nodes, "g", [x], outputs, tensors), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )


@pytest.mark.parametrize("zero", [-128, -14, 127])
def test_activations_with_a_zero_point_are_unsigned_in_the_same_steps(zero: int) -> None:
    signed = rounded(np.int8(zero), readers=2)
    result = UnsignedActivations()(to_ir(signed))
    unsigned = to_proto(result.model)
    onnx.checker.check_model(unsigned, full_check=True)
    assert result.modified
    assert [node.input[2] for node in unsigned.graph.node] == ["q_zero_point"] * 3
    (point,) = (numpy_helper.to_array(one) for one in unsigned.graph.initializer if one.name == "q_zero_point")
    assert (point.dtype, int(point)) == (np.uint8, zero + 128)
    x = np.linspace(-100, 100, 600, dtype=np.float32)
    before, after = (
        onnxruntime.InferenceSession(one.SerializeToString()).run(None, {"x": x}) for one in (signed, unsigned)
    )
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("zero", [np.int8(0), np.uint8(3)])
def test_other_activations_stay_as_they_are(zero: Any) -> None:
    made = rounded(zero)
    result = UnsignedActivations()(to_ir(made))
    assert not result.modified
    assert to_proto(result.model) == made
