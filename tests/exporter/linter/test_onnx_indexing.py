"""Unfolding, rolling and selecting in their ONNX guises, each beside what looks nearly like it."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest

from slide_export.linter import onnx_indexing as indexing
from slide_export.linter.onnx_view import Graph
from slide_export.linter.rules import Device
from tests.exporter.linter.test_onnx_rules import RELU, gather, graph, node, rolled, slices, stacked

Check = Callable[[Graph], Iterator[Device]]
GATHER_CHECKS: dict[str, Check] = {
    "unfold": indexing.im2col,
    "roll": indexing.roll_gathers,
    "select": indexing.selections,
    "gather": indexing.gathers,
}


def found(check: Check, proto: onnx.ModelProto) -> list[str]:
    return [what for _, what in check(Graph(proto))]


@pytest.mark.parametrize(
    ("index", "kind"),
    [
        ([[0, 1], [1, 2]], "unfold"),
        ([[0, 1]], "unfold"),
        ([[0]], "unfold"),
        ([1, 2, 3, 0], "roll"),
        ([3, 0, 1, 2], "roll"),
        ([1, 0], "roll"),
        ([0, 1, 2, 3], "gather"),
        ([1, 2, 3, 1], "gather"),
        ([1, 2, 0, 3], "gather"),
        (3, "select"),
        ([3], "select"),
        ([0], "select"),
    ],
)
def test_a_gather_is_of_one_kind(index: Any, kind: str) -> None:
    proto = gather(index)
    assert [name for name, check in GATHER_CHECKS.items() if found(check, proto)] == [kind]


def test_a_gather_of_weights_is_known_before_the_model_runs() -> None:
    def table(*shape: int) -> onnx.ModelProto:
        return graph(
            node("Gather", ["table", "i"], ["b"]),
            node("Add", ["x", "b"], ["y"]),
            table=np.zeros(shape, np.float32),
            i=np.array([1, 0]),
        )

    assert found(indexing.constant_gathers, table(5, 8)) == ["Gather of a weight by constant indices"]
    assert found(indexing.constant_gathers, table(5)) == []  # of a list of sizes, say
    assert not any(found(check, table(5, 8)) for check in GATHER_CHECKS.values())
    assert found(indexing.constant_gathers, gather([1, 0])) == []


def scattered(data: str, updates: str) -> onnx.ModelProto:
    return graph(
        node("ScatterND", [data, "i", updates], ["y"]),
        shape=("batch", 4),
        zeros=np.zeros((8, 4), np.float32),
        i=np.zeros((2, 1), np.int64),
    )


@pytest.mark.parametrize(
    ("data", "updates", "kind"), [("zeros", "x", "unfold"), ("x", "zeros", "gather"), ("zeros", "zeros", None)]
)
def test_a_scatter_into_a_constant_is_a_fold(data: str, updates: str, kind: str | None) -> None:
    proto = scattered(data, updates)
    assert [name for name, check in GATHER_CHECKS.items() if found(check, proto)] == ([kind] if kind else [])


def test_an_operator_that_folds_is_one() -> None:
    assert found(indexing.im2col, graph(node("Col2Im", ["x", "a", "b"], ["y"], domain="com.acme"))) == [
        "Col2Im: a fold"
    ]
    assert found(indexing.im2col, RELU) == []


@pytest.mark.parametrize(
    ("ranges", "stack"),
    [
        (((0, 6), (1, 7), (2, 8)), True),
        (((2, 8), (0, 6), (1, 7)), True),
        (((0, 6), (1, 7)), False),  # two are halves, or a roll
        (((0, 3), (3, 6), (6, 8)), False),  # the one ends where the next begins
        (((0, 4), (3, 6), (5, 8)), True),
    ],
)
def test_a_stack_of_overlapping_slices_is_an_unfold(ranges: Any, stack: bool) -> None:
    assert bool(found(indexing.stacked_slices, stacked(*ranges))) == stack


def test_a_stack_of_something_else_beside_slices_is_none() -> None:
    proto = stacked((0, 6), (1, 7), (2, 8))
    concat = next(one for one in proto.graph.node if one.op_type == "Concat")
    concat.input.append("x")
    assert found(indexing.stacked_slices, proto) == []


@pytest.mark.parametrize(
    ("ranges", "roll"),
    [
        (((3, 8), (0, 3)), True),
        (((3, 2**62), (0, 3)), True),
        (((0, 3), (3, 8)), False),  # in their own order
        (((3, 8), (0, 2)), False),  # one row is gone
        (((3, 8), (0, 4)), False),  # one row is twice
        (((3, 8), (1, 3)), False),
        (((3, 8), (0, 3), (0, 3)), False),
    ],
)
def test_two_slices_in_the_other_order_are_a_roll(ranges: Any, roll: bool) -> None:
    assert bool(found(indexing.roll_slices, rolled(*ranges))) == roll


def test_slices_of_two_axes_or_with_steps_are_no_roll() -> None:
    nodes, constants = slices((3, 8), (0, 3))
    nodes[1].input[3] = "other"
    concat = node("Concat", ["s0", "s1"], ["y"], axis=2)
    assert found(indexing.roll_slices, graph(*nodes, concat, **constants, other=np.array([3]))) == []
    for step, roll in ((1, True), (2, False)):
        nodes, constants = slices((3, 8), (0, 3))
        for one in nodes:
            one.input.append("step")
        assert bool(found(indexing.roll_slices, graph(*nodes, concat, **constants, step=np.array([step])))) == roll
