"""Scales as ONNX wants them, of whatever axes NNCF gives them."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from slide_export.calibration.quantizers.nncf import PlainScales
from slide_export.graph.convert import to_ir, to_proto


def dequantized(weight: tuple[int, ...], scale: Any) -> onnx.ModelProto:
    """A graph that is one weight times its scale."""
    integers = np.arange(np.prod(weight), dtype=np.int8).reshape(weight)
    node = helper.make_node("DequantizeLinear", ["weight", "scale"], ["values"], name="conv")
    graph = helper.make_graph(
        [node],
        "one",
        [],
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, weight)],
        [numpy_helper.from_array(integers, "weight"), numpy_helper.from_array(np.float32(scale), "scale")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize(
    ("weight", "scale", "plain", "axis"),
    [
        ((3, 2, 2, 2), np.reshape([1, 2, 4], (3, 1, 1, 1)), [1, 2, 4], 0),
        ((3, 4), np.reshape([1, 2, 4, 8], (1, 4)), [1, 2, 4, 8], 1),
        ((1, 2, 7, 7), np.full((1, 1, 1, 1), 2), 2, None),  # a convolution to one channel
        ((3, 2), [1, 2], [1, 2], None),
        ((3, 2), 2, 2, None),
    ],
)
def test_a_scale_has_one_axis_or_none(weight: tuple[int, ...], scale: object, plain: object, axis: int | None) -> None:
    rewritten = to_proto(PlainScales()(to_ir(dequantized(weight, scale))).model)
    (node,) = rewritten.graph.node
    assert [attribute.i for attribute in node.attribute] == ([] if axis is None else [axis])
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in rewritten.graph.initializer}
    np.testing.assert_array_equal(found["scale"], np.float32(plain))
    (values,) = onnxruntime.InferenceSession(rewritten.SerializeToString()).run(None, {})
    np.testing.assert_array_equal(values, found["weight"] * np.broadcast_to(np.float32(scale), weight))


def test_a_scale_of_two_axes_stays() -> None:
    rewritten = to_proto(PlainScales()(to_ir(dequantized((3, 2, 4), np.ones((3, 2, 1))))).model)
    assert [tuple(tensor.dims) for tensor in rewritten.graph.initializer if tensor.name == "scale"] == [(3, 2, 1)]


def test_nncfs_record_is_left_out() -> None:
    proto = dequantized((3, 2), 2)
    proto.metadata_props.add(key="nncf/version", value="3")
    proto.metadata_props.add(key="author", value="me")
    assert [entry.key for entry in to_proto(PlainScales()(to_ir(proto)).model).metadata_props] == ["author"]
