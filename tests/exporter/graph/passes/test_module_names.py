"""Names follow the modules, also for nodes that folding named itself."""

from onnx import TensorProto, helper

from slide_export.graph.passes.module_names import module_names


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
