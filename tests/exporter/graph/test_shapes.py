"""Shapes of an edited graph: inferred without moving a weight, known or not, and forgotten but for what is stated."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from slide_export.graph.shapes import forget, infer, known

LARGE, SMALL = np.ones((1, 2000), np.float32), np.float32(2)


def model(*, weights: dict[str, np.ndarray] | None = None) -> ir.Model:
    """`y = (x + a) * b`; the sum has no shape."""
    weights = {"a": LARGE, "b": SMALL} if weights is None else weights
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "a"], ["sum"]), helper.make_node("Mul", ["sum", "b"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2000])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2000])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return ir.serde.deserialize_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))


def shape_of(found: ir.Model, name: str) -> list[str | int] | None:
    value = next(one for node in found.graph for one in node.outputs if one.name == name)
    return None if value.shape is None else [getattr(size, "value", size) for size in value.shape]


def test_shapes_are_inferred_and_then_known() -> None:
    edited = model()
    assert not known(edited)
    infer(edited)
    assert shape_of(edited, "sum") == ["batch", 2000]
    assert known(edited)


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_weights_keep_their_order_and_values_whatever_their_size(names: tuple[str, str]) -> None:
    values = {"a": LARGE, "b": SMALL}
    edited = model(weights={name: values[name] for name in names})
    infer(edited)
    assert tuple(edited.graph.initializers) == names
    for name in names:
        weight = edited.graph.initializers[name].const_value
        assert weight is not None
        assert np.array_equal(weight.numpy(), values[name])


def test_what_is_forgotten_is_inferred_anew_and_what_is_stated_stays() -> None:
    edited = model()
    infer(edited)
    forget(edited)
    assert shape_of(edited, "sum") is None
    assert shape_of(edited, "y") == ["batch", 2000]  # an output's is the graph's word
    assert not known(edited)
    infer(edited)
    assert shape_of(edited, "sum") == ["batch", 2000]


def test_an_untrue_shape_stays_where_it_is_not_forgotten() -> None:
    edited = model()
    infer(edited)
    total = next(one for node in edited.graph for one in node.outputs if one.name == "sum")
    total.shape = ir.Shape([7, 7])
    infer(edited)
    assert shape_of(edited, "sum") != ["batch", 2000]
    forget(edited)
    infer(edited)
    assert shape_of(edited, "sum") == ["batch", 2000]


def test_sizes_that_are_put_together_are_followed_on_demand() -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["x"], ["size"]),
            helper.make_node("Concat", ["size", "one"], ["longer"], axis=0),
            helper.make_node("Reshape", ["x", "longer"], ["r"]),
            helper.make_node("Relu", ["r"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3, 1])],
        [numpy_helper.from_array(np.array([1]), "one")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    followed, plain = (ir.serde.deserialize_model(proto) for _ in range(2))
    infer(followed, data_prop=True)
    infer(plain)
    assert shape_of(followed, "r") == [2, 3, 1]
    assert shape_of(plain, "r") != [2, 3, 1]
