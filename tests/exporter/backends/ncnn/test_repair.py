"""What pnnx writes, repaired: a constant for each computed shape, no reshape to rank 5, no needless Split."""

from collections.abc import Mapping, Sequence

import pytest

from slide_export.backends.ncnn.network import Layer
from slide_export.backends.ncnn.repair import drop_unused, fix_shapes, settle_batch_reshapes
from slide_export.core.errors import LoweringError

INPUT = Layer("Input", "in", (), ("in",))
GRAPH = "Tensor.reshape r 1 1 56 57 shape=({0}) $input=56 #56=(64,3,49,49)f32 #57=({0})f32"
RESHAPED = (INPUT, Layer("Tensor.reshape", "r", ("in",), ("a",)), Layer("Softmax", "s", ("a",), ("out",)))


def constant(shape: tuple[int, ...]) -> Layer:
    def shapes(names: Sequence[str]) -> Mapping[str, tuple[int, ...]]:
        return dict.fromkeys(names, shape)

    reshape = Layer("Reshape", "r", ("a", "like"), ("b",), {6: '"0w,1h,1c"'})
    (fixed,) = fix_shapes((reshape,), shapes)
    return fixed


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ((7,), {0: "7"}),
        ((5, 7), {0: "7", 1: "5"}),
        ((3, 5, 7), {0: "7", 1: "5", 2: "3"}),
        ((2, 3, 5, 7), {0: "7", 1: "5", 2: "2", 11: "3"}),
    ],
)
def test_a_computed_shape_becomes_a_constant_without_what_it_was_computed_from(
    shape: tuple[int, ...], parameters: Mapping[int, str]
) -> None:
    fixed = constant(shape)
    assert fixed.parameters == parameters
    assert fixed.inputs == ("a",)


def test_more_axes_than_ncnn_has_are_refused() -> None:
    with pytest.raises(LoweringError, match="at most 4 axes in r, found 5"):
        constant((1, 2, 3, 4, 5))


def test_a_constant_shape_stays() -> None:
    layer = Layer("Reshape", "r", ("a",), ("b",), {0: "7"})
    assert fix_shapes((layer,), lambda names: dict.fromkeys(names, (1,))) == (layer,)


def test_a_reshape_that_adds_the_batch_is_dropped() -> None:
    assert settle_batch_reshapes(RESHAPED, GRAPH.format("1,64,3,49,49")) == (
        INPUT,
        Layer("Softmax", "s", ("in",), ("out",)),
    )


def test_another_shape_behind_the_batch_is_a_reshape_to_it() -> None:
    (_, reshape, _) = settle_batch_reshapes(RESHAPED, GRAPH.format("1,3,64,7,343"))
    assert (reshape.type, reshape.parameters) == ("Reshape", {0: "343", 1: "7", 2: "3", 11: "64"})


@pytest.mark.parametrize("graph", [GRAPH.format("2,32,3,49,49"), GRAPH.format("1,3,8,8,49,49"), "", "other 1"])
def test_any_other_reshape_stays_and_is_refused_later(graph: str) -> None:
    assert settle_batch_reshapes(RESHAPED, graph) == RESHAPED


def test_what_nothing_takes_is_dropped_from_a_split() -> None:
    split = Layer("Split", "s", ("in",), ("a", "b", "c"))
    add = Layer("BinaryOp", "add", ("a", "c"), ("out",))
    assert drop_unused((INPUT, split, add))[1].outputs == ("a", "c")
    one = Layer("Softmax", "one", ("b",), ("out",))
    assert drop_unused((INPUT, split, one)) == (INPUT, Layer("Softmax", "one", ("in",), ("out",)))


def test_splits_of_splits_are_followed() -> None:
    first, second = Layer("Split", "s", ("in",), ("a", "b")), Layer("Split", "t", ("a",), ("c", "d"))
    last = Layer("Softmax", "last", ("c",), ("out",))
    assert drop_unused((INPUT, first, second, last))[-1].inputs == ("in",)
