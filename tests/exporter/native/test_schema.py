"""onnx infers the shape behind the operator, and a graph is told to have it by its domain."""

import onnx
import pytest
from onnx import TensorProto, helper

from slide_export.native import DOMAIN, OPERATOR
from slide_export.native.schema import ATTRIBUTES, INPUTS, register, used_in


def graph(*shape: int | str, domain: str = DOMAIN) -> onnx.ModelProto:
    node = helper.make_node(OPERATOR, list(INPUTS), ["out"], domain=domain, heads=2, kernel_size=3)
    inputs = [helper.make_tensor_value_info("qkv", TensorProto.FLOAT, list(shape))]
    inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in INPUTS[1:]]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None] * 4)]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    return helper.make_model(helper.make_graph([node], "g", inputs, outputs), opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize(
    ("shape", "expected"), [((1, 4, 5, 24), [1, 4, 5, 8]), (("batch", 4, 5, 3), ["batch", 4, 5, 1])]
)
def test_the_output_has_a_third_of_the_channels(shape: tuple[int | str, ...], expected: list[int | str]) -> None:
    register()
    found = onnx.shape_inference.infer_shapes(graph(*shape)).graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in found] == expected


def test_channels_that_are_not_known_stay_so() -> None:
    register()
    found = onnx.shape_inference.infer_shapes(graph(1, 4, 5, "channels")).graph.output[0].type.tensor_type.shape.dim
    assert not found[3].HasField("dim_value")
    assert found[3].dim_param != "channels"  # which are three times as many


def test_a_graph_has_the_operator_by_its_domain() -> None:
    assert used_in(graph(1, 4, 5, 24))
    assert not used_in(graph(1, 4, 5, 24, domain="another"))


def test_an_operator_without_its_attributes_is_none() -> None:
    register()
    register()  # once a process, however often it is asked for
    broken = graph(1, 4, 5, 24)
    onnx.checker.check_model(broken)
    for name in ATTRIBUTES:
        without = graph(1, 4, 5, 24)
        kept = [each for each in without.graph.node[0].attribute if each.name != name]
        del without.graph.node[0].attribute[:]
        without.graph.node[0].attribute.extend(kept)
        with pytest.raises(onnx.checker.ValidationError, match=name):
            onnx.checker.check_model(without)
