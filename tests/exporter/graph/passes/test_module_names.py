"""Names follow the modules, also for nodes that folding named itself."""

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from slide_export.graph.convert import to_ir, to_proto
from slide_export.graph.passes.module_names import LATER_CALL, ModuleNames
from slide_export.models import FAMILIES
from slide_export.models.dense import DENSE
from slide_export.models.family import Family


def module_names(proto: onnx.ModelProto) -> onnx.ModelProto:
    result = ModuleNames()(to_ir(proto))
    assert result.modified
    assert not ModuleNames()(result.model).modified
    return to_proto(result.model)


def test_nodes_take_the_module_of_their_value_or_of_their_user() -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in ("x", "y"))
    nodes = [
        helper.make_node("Relu", ["x"], ["_v_1"], name="Relu_0"),
        helper.make_node("Relu", ["_v_1"], ["/block/act/Relu_output_0"], name="Relu_1"),
        helper.make_node("Neg", ["/block/act/Relu_output_0"], ["y"], name="anything"),
    ]
    proto = module_names(helper.make_model(helper.make_graph(nodes, "g", [x], [y])))
    assert [node.name for node in proto.graph.node] == ["/block/act/Relu", "/block/act/Relu_1", "/Neg"]
    assert proto.graph.node[2].input == ["/block/act/Relu_output_0"]


def test_a_layer_of_a_sequential_is_named_once() -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in ("x", "y"))
    nodes = [
        helper.make_node("Relu", ["x"], ["/embed/proj/proj.1/Relu_output_0"]),
        helper.make_node("Neg", ["/embed/proj/proj.1/Relu_output_0"], ["/block1/block1.0/mlp/mlp.2/Neg_output_0"]),
        helper.make_node("Neg", ["/block1/block1.0/mlp/mlp.2/Neg_output_0"], ["y"]),
    ]
    proto = module_names(helper.make_model(helper.make_graph(nodes, "g", [x], [y])))
    assert [node.name for node in proto.graph.node] == ["/embed/proj.1/Relu", "/block1.0/mlp.2/Neg", "/Neg"]


def test_an_output_takes_the_module_of_a_weight() -> None:
    x, y, w = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in ("x", "y", "blocks.0.head.bias"))
    nodes = [helper.make_node("Neg", ["x"], ["_v_1"]), helper.make_node("Add", ["_v_1", w.name], ["y"])]
    proto = module_names(helper.make_model(helper.make_graph(nodes, "g", [x, w], [y])))  # a large weight is an input
    assert [node.name for node in proto.graph.node] == ["/blocks.0/head/Neg", "/blocks.0/head/Add"]


def test_a_later_call_is_of_the_same_module() -> None:
    values = [
        "/head/conv/Conv_output_0",
        "/head/conv_1/Conv_output_0",
        "/head_1/conv_2/Conv_output_0",
        "/norm_1/Neg_output_0",  # a module of that name: there is no norm
        "/head/other_1/Neg_output_0",
        "y",
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in ("x", "y"))
    taken = ["x", *values]
    nodes = [helper.make_node("Neg", [one], [other]) for one, other in zip(taken, values, strict=False)]
    proto = module_names(helper.make_model(helper.make_graph(nodes, "g", [x], [y])))
    assert [node.name for node in proto.graph.node] == [
        "/head/conv/Neg",
        "/head/conv/Neg_1",
        "/head/conv/Neg_2",
        "/norm_1/Neg",
        "/head/other_1/Neg",
        "/Neg",
    ]


@pytest.mark.parametrize("family", (*FAMILIES, *DENSE), ids=lambda family: family.name)
def test_no_module_is_called_like_a_later_call_of_another(family: Family) -> None:
    with torch.device("meta"):
        model = family.build(next(iter(family.variants.values())))
    names = {name for name, _ in model.named_modules()}
    assert not [name for name in names if (first := LATER_CALL.sub("", name)) != name and first in names]
