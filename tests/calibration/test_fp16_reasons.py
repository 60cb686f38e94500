"""Each reason keeps its node in float32 and says so; what none of them sees becomes float16."""

import logging

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from slide_export.calibration.fp16 import ToHalf
from slide_export.calibration.fp16_reasons import Kept
from slide_export.graph.convert import to_ir


def node(kind: str, takes: str, gives: str, name: str = "") -> onnx.NodeProto:
    return helper.make_node(kind, takes.split(), [gives], name=name or f"/{gives}/{kind}")


def kept(
    *nodes: onnx.NodeProto, weights: dict[str, NDArray[np.float32]] | None = None, pixels: bool = False, keep: str = ""
) -> dict[str, Kept]:
    """What `ToHalf` kept in a graph from x [batch, 4] to y, by the names of the values that the nodes give."""
    kind = TensorProto.UINT8 if pixels else TensorProto.FLOAT
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", kind, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    result = ToHalf((keep,) if keep else ())(to_ir(model))
    assert result.modified
    return {one.node.split("/")[1]: one for one in result.kept}


def test_preprocessing_ends_at_the_first_node_that_is_none() -> None:
    cast = helper.make_node("Cast", ["x"], ["a"], name="/a/Cast", to=TensorProto.FLOAT)
    weights = {"w": np.full(4, 0.5, np.float32)}
    nodes = [cast, node("Mul", "a w", "b"), node("Relu", "b", "c"), node("Mul", "c w", "y")]
    assert {name: one.reason for name, one in kept(*nodes, weights=weights, pixels=True).items()} == {
        "a": "Preprocessing",
        "b": "Preprocessing",
    }


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax", "ReduceSum", "ReduceMean", "Exp", "Max", "Sub"])
def test_a_sum_over_many_terms_is_kept_and_its_neighbours_are_not(kind: str) -> None:
    takes = "a a" if kind in ("Max", "Sub") else "a"
    found = kept(node("Relu", "x", "a"), node(kind, takes, "b"), node("Relu", "b", "y"))
    assert found["b"] == Kept(f"/b/{kind}", "SumOfManyTerms", f"{kind} sums many terms or grows beyond them")
    assert found.keys() == {"b"}


def test_a_written_out_softmax_is_kept_down_to_its_quotient() -> None:
    nodes = [
        node("Exp", "x", "e0"),
        node("Exp", "x", "e1"),
        node("Add", "e0 e1", "s1"),
        node("Add", "s1 e0", "s2"),
        node("Div", "e0 s2", "p"),
        node("Add", "p x", "y"),  # a sum, but not of exponentials
    ]
    reasons = {name: one.reason for name, one in kept(*nodes).items()}
    assert reasons == {
        "e0": "SumOfManyTerms",
        "e1": "SumOfManyTerms",
        "s1": "WrittenOutSoftmax",
        "s2": "WrittenOutSoftmax",
        "p": "WrittenOutSoftmax",
    }


@pytest.mark.parametrize(
    ("size", "vanishes"),
    [(0.9 * 2**-25, True), (2**-25, True), (1.1 * 2**-25, False), (0.0, False)],  # a tie goes to the even one, 0
)
def test_a_weight_that_would_vanish_is_kept(size: float, vanishes: bool) -> None:
    assert bool(size and np.float16(size) == 0) is vanishes
    found = kept(node("Mul", "x w", "y"), weights={"w": np.full(4, size, np.float32)})
    assert bool(found) is vanishes
    if found:
        assert found["y"].because == f"the largest of w is {np.float32(size):g}, which float16 rounds to 0"


def test_an_input_that_is_left_out_is_no_weight() -> None:
    found = kept(helper.make_node("Clip", ["x", "", "w"], ["y"], name="/y/Clip"), weights={"w": np.float32(1e-9)})  # type: ignore[dict-item]
    assert found["y"].because == "the largest of w is 1e-09, which float16 rounds to 0"


def test_a_module_that_was_asked_for_is_kept() -> None:
    found = kept(node("Relu", "x", "a", "/a/blocks.0/fc/Relu"), node("Relu", "a", "y"), keep="a.blocks.*")
    assert found == {"a": Kept("/a/blocks.0/fc/Relu", "AskedFor", "its module was asked for in float32")}


def test_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "slide_export"):
        kept(node("Softmax", "x", "y"))
    assert caplog.messages == ["/y/Softmax stays in float32: Softmax sums many terms or grows beyond them"]


def test_a_module_that_chooses_among_boxes_is_kept_whole() -> None:
    weights = {"w": np.zeros((1, 1, 4), np.float32)}
    nodes = [
        node("Relu", "x", "a", "/head/Relu"),
        node("Reshape", "a shape", "boxes", "/head/suppress/Reshape"),
        node("Abs", "boxes", "scores", "/head/suppress/Abs"),
        node("NonMaxSuppression", "boxes scores", "kept", "/head/suppress/NonMaxSuppression"),
        node("GatherND", "scores kept", "y", "/head/suppress/GatherND"),
    ]
    found = kept(*nodes, weights={**weights, "shape": np.array([-1, 1, 4])})
    assert found["head"].reason == "ChosenBy"
    assert found["head"].node == "/head/suppress/GatherND"


def test_a_module_that_sorts_is_kept_whole() -> None:
    topk = helper.make_node("TopK", ["a", "k"], ["values", "order"], name="/attn/sort/rounds.0/TopK")
    nodes = [
        node("Relu", "x", "a", "/attn/sort/Relu"),
        topk,
        node("Relu", "values", "b", "/attn/sorted/Relu"),
        helper.make_node("Relu", ["b"], ["c"]),  # a node may have no name
        node("Identity", "c", "y"),
    ]
    found = kept(*nodes, weights={"k": np.array([2], np.int64)})  # type: ignore[dict-item]
    assert found == {"attn": Kept("/attn/sort/rounds.0/TopK", "SortedBy", "tokens are sorted by it")}
    others = [helper.make_node("Relu", ["x"], ["a"], name="/attn/sort/rounds.0/Relu"), node("Identity", "a", "y")]
    assert kept(*others) == {}
