"""Large weights come back as they were; small constants never leave."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from slide_export.core.errors import ExportError
from slide_export.graph.convert import to_ir, to_proto
from slide_export.graph.passes import run
from slide_export.graph.passes.unwrap import Unwrap
from slide_export.graph.passes.weights import LARGE, attach, detach


def graph() -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 200]) for name in ("x", "y"))
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal((200, 200), dtype=np.float32), "large"),
        numpy_helper.from_array(np.ones(200, np.float32), "small"),
        numpy_helper.from_array(np.zeros((200, 200), np.float32), "unused"),
    ]
    nodes = [helper.make_node("MatMul", ["x", "large"], ["m"]), helper.make_node("Add", ["m", "small"], ["y"])]
    return helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], weights), opset_imports=[helper.make_opsetid("", 17)]
    )


def test_large_ones_are_inputs_meanwhile() -> None:
    model = to_ir(graph())
    large = detach(model)
    proto = to_proto(model)
    assert [tensor.name for tensor in large] == ["large", "unused"]
    assert [value.name for value in proto.graph.input] == ["x", "large", "unused"]
    assert [tensor.name for tensor in proto.graph.initializer] == ["small"]
    assert proto.ByteSize() < LARGE
    onnx.checker.check_model(proto, full_check=True)


def test_they_come_back_and_unused_ones_do_not() -> None:
    original = graph()
    model = to_ir(original)
    attach(model, detach(model))
    proto = to_proto(model)
    assert list(proto.graph.input) == list(original.graph.input)
    back = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    assert back.keys() == {"small", "large"}
    assert np.array_equal(back["large"], numpy_helper.to_array(original.graph.initializer[0]))
    assert original == graph()


def test_a_weight_that_a_pass_renames_comes_back_under_its_new_name() -> None:
    original = graph()
    original.graph.initializer[0].name = "module.large"
    original.graph.node[0].input[1] = "module.large"
    proto = run(original, (Unwrap(),))
    assert [value.name for value in proto.graph.input] == ["x"]
    back = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    assert back.keys() == {"small", "large"}
    assert np.array_equal(back["large"], numpy_helper.to_array(original.graph.initializer[0]))


def test_a_weight_that_a_pass_takes_away_is_an_error() -> None:
    model = to_ir(graph())
    large = detach(model)
    del model.graph.inputs[1]
    with pytest.raises(ExportError, match="expected the weight large among the graph's inputs, found x"):
        attach(model, large)
