"""Each check with a limit, on both sides of it, and what it leaves alone."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from slide_export.linter import onnx_checks as checks
from slide_export.linter.onnx_view import Graph
from slide_export.linter.rules import Device
from tests.exporter.linter.test_onnx_rules import FLOAT, INT64, RELU, conv, graph, node, reshape, view


def found(check: Callable[[Graph], Iterator[Device]], proto: onnx.ModelProto) -> list[str]:
    return [what for _, what in check(Graph(proto))]


@pytest.mark.parametrize("rank", [5, 6, 9])
def test_a_rank_above_its_limit_is_computed_or_viewed(rank: int) -> None:
    for limit in (rank - 1, rank):
        high = limit < rank
        assert bool(found(checks.computed_rank(limit), view(rank, "Relu"))) == high
        assert found(checks.viewed_rank(limit), view(rank, "Relu")) == []
        assert bool(found(checks.viewed_rank(limit), view(rank))) == high
        assert found(checks.computed_rank(limit), view(rank)) == []


def test_a_view_that_something_computes_on_is_no_view() -> None:
    proto = view(6)
    proto.graph.node.insert(1, node("Relu", ["r"], ["beside"]))
    assert found(checks.viewed_rank(5), proto) == []
    assert found(checks.computed_rank(5), proto) != []


@pytest.mark.parametrize(
    ("channels", "outputs", "groups", "multiplier"),
    [(4, 8, 4, "4 channels with multiplier 2"), (4, 4, 4, ""), (4, 8, 2, ""), (4, 8, 1, ""), (1, 8, 1, "")],
)
def test_a_multiplier_is_of_depthwise_convolutions_alone(
    channels: int, outputs: int, groups: int, multiplier: str
) -> None:
    assert (multiplier in "".join(found(checks.multiplier, conv(channels, outputs, groups)))) == bool(multiplier) or (
        not multiplier and found(checks.multiplier, conv(channels, outputs, groups)) == []
    )


@pytest.mark.parametrize(
    ("shape", "fixed"), [((1, 4, 8, 8), True), (("batch", 4, 8, 8), False), ((3,), False), ((), False)]
)
def test_a_batch_is_the_first_of_several_sizes(shape: Any, fixed: bool) -> None:
    proto = graph(node("Relu", ["x"], ["y"]), shape=shape)
    assert bool(found(checks.fixed_batch, proto)) == fixed


@pytest.mark.parametrize(("size", "baked"), [((2, 4, 64), True), ((-1, 256), False), ((0, -1), False), ((1, -1), True)])
def test_a_first_size_that_is_a_number_is_baked(size: tuple[int, ...], baked: bool) -> None:
    assert bool(found(checks.baked_batch, reshape(*size))) == baked
    assert found(checks.baked_batch, reshape(*size, shape=(2, 4, 8, 8))) == []  # nobody expects another batch there


@pytest.mark.parametrize(("first", "baked"), [(1, False), (2, True)])
def test_an_expand_to_one_leaves_the_batch(first: int, baked: bool) -> None:
    proto = graph(node("Expand", ["x", "size"], ["y"]), size=np.array([first, 4, 8, 8]))
    assert bool(found(checks.baked_batch, proto)) == baked


def test_a_weight_may_have_any_first_size() -> None:
    proto = graph(
        node("Reshape", ["w", "size"], ["v"]), node("Add", ["x", "v"], ["y"]), w=np.ones(8), size=np.array([2, 4])
    )
    assert found(checks.baked_batch, proto) == []


def test_an_element_type_is_found_once_a_node_in_weights_results_and_inputs() -> None:
    double = TensorProto.DOUBLE
    proto = graph(node("Add", ["x", "w"], ["y"]), dtype=double, w=np.ones(8))
    assert found(checks.element(double), proto) == ["input x is double", "Add with double w"]
    assert found(checks.element(double), RELU) == []
    sizes = graph(node("Shape", ["x"], ["s"]), node("Expand", ["x", "s"], ["y"]))
    assert found(checks.element(INT64), sizes) == []  # sizes are no activations


def test_integers_of_64_bits_that_depend_on_the_content() -> None:
    proto = graph(node("Cast", ["x"], ["i"], to=INT64), node("Cast", ["i"], ["y"], to=FLOAT))
    assert found(checks.int64_activations, proto) == ["i is int64"]
    assert found(checks.int64_activations, graph(node("Abs", ["x"], ["y"]), dtype=INT64)) == [
        "x is int64",
        "y is int64",
    ]
    assert found(checks.int64_activations, graph(node("Shape", ["x"], ["y"]))) == []


def test_8_bits_between_operators_unless_they_are_quantized() -> None:
    def casts(*names: str) -> onnx.ModelProto:
        return graph(node("Cast", ["x"], ["u"], to=TensorProto.UINT8), node("Cast", ["u"], ["y"], to=FLOAT))

    assert found(checks.inner_uint8, casts()) == ["Cast gives uint8 u"]
    assert found(checks.inner_uint8, graph(node("Cast", ["x"], ["y"], to=TensorProto.UINT8))) == []  # an output
    quantized = graph(
        node("QuantizeLinear", ["x", "s", "z"], ["u"]),
        node("DequantizeLinear", ["u", "s", "z"], ["y"]),
        s=np.float32(1),
        z=np.uint8(0),
    )
    assert found(checks.inner_uint8, quantized) == []


def test_a_0d_integer_is_computed_and_none_that_is_written_down() -> None:
    proto = graph(
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "i"], ["n"]),
        node("Cast", ["n"], ["f"], to=FLOAT),
        node("Mul", ["x", "f"], ["y"]),
        i=np.array(0),
    )
    assert found(checks.scalar_integers, proto) == ["Gather of a 0-d integer"]
    written = graph(
        node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.array(2))),
        node("Cast", ["c"], ["f"], to=FLOAT),
        node("Mul", ["x", "f"], ["y"]),
    )
    assert found(checks.scalar_integers, written) == []


@pytest.mark.parametrize(("limit", "above"), [(16, True), (17, False)])
def test_an_opset_above_its_limit(limit: int, above: bool) -> None:
    assert bool(found(checks.opset_above(limit), RELU)) == above


def test_an_opset_that_the_installed_onnx_does_not_know() -> None:
    newest = onnx.defs.onnx_opset_version()
    assert found(checks.unreleased_opset, graph(node("Relu", ["x"], ["y"]), opset=newest)) == []
    assert found(checks.unreleased_opset, graph(node("Relu", ["x"], ["y"]), opset=newest + 1)) == [
        f"opset {newest + 1}"
    ]


@pytest.mark.parametrize(("domain", "custom"), [("", False), ("ai.onnx", False), ("ai.onnx.ml", False), ("acme", True)])
def test_operators_of_a_domain_that_onnx_has_not(domain: str, custom: bool) -> None:
    proto = graph(node("Magic", ["x"], ["y"], domain=domain))
    assert found(checks.custom_operators, proto) == (["acme::Magic"] if custom else [])


def test_operators_by_name() -> None:
    assert found(checks.operators("Relu", "Abs"), RELU) == ["Relu"]
    assert found(checks.operators("Abs"), RELU) == []
