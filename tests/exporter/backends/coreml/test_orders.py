"""A gather follows an order where a sort made its indices, however they were moved; any other is an Im2Col."""

from pathlib import Path

import pytest

from slide_export.backends.coreml.orders import SORTS, VIEWS, by_order
from slide_export.mil import Operation, Package
from slide_export.mil.program import MilType, Output, Program, Reference


def made(kind: str, name: str, *results: str, **takes: str) -> Operation:
    inputs = {parameter: (Reference(value),) for parameter, value in takes.items()}
    outputs = tuple(Output(result, MilType("int32", (1,))) for result in results or (name,))
    return Operation(kind, name, inputs, {}, outputs)


def arranged(*operations: Operation) -> set[str]:
    return set(by_order(Package(Path("a"), (), (), Program("CoreML7", {}, operations, ()), {})))


TOPK = made("topk", "sorted", "values", "indices", x="keys")
GATHER = made("gather_along_axis", "moved", x="map", indices="indices")


@pytest.mark.parametrize("sort", [TOPK, made("argsort", "sorted", "indices", x="keys")])
def test_a_gather_by_a_sorts_indices_is_one(sort: Operation) -> None:
    assert arranged(sort, GATHER) == {"moved"}
    assert sort.type in SORTS


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_indices_may_be_moved_and_repeated(view: str) -> None:
    far = made("gather_along_axis", "moved", x="map", indices="seen")
    assert arranged(TOPK, made(view, "seen", x="indices"), far) == {"moved"}
    assert arranged(TOPK, made(view, "seen", x="values"), far) == set()
    assert arranged(TOPK, made(view, "seen", y="indices"), far) == set()


def test_an_order_of_an_order_is_one_too() -> None:
    inner = made("gather_along_axis", "both", x="indices", indices="indices")
    assert arranged(TOPK, inner, made("gather_along_axis", "moved", x="map", indices="both")) == {"both", "moved"}


@pytest.mark.parametrize(
    "operations",
    [
        (GATHER,),
        (TOPK, made("gather_along_axis", "moved", x="map", indices="values")),
        (TOPK, made("gather", "moved", x="map", indices="indices")),  # of whole slices
        (TOPK, made("gather_along_axis", "moved", x="indices", indices="constant")),
        (TOPK, made("add", "seen", x="indices"), made("gather_along_axis", "moved", x="map", indices="seen")),
        (GATHER, TOPK),  # sorted afterwards
    ],
)
def test_any_other_gather_is_none(operations: tuple[Operation, ...]) -> None:
    assert arranged(*operations) == set()
