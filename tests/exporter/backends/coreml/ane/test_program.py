"""A package as the rules look at it: what computes, what is constant, and of which type and shape operands are."""

import pytest
import torch

from slide_export.mil import Operation
from slide_export.mil.program import Literal, MilType, Output, Reference, Value

from .statements import SHAPE, program, statement


def constant(name: str, value: Value | None, element: str = "fp16", kind: str = "const") -> Operation:
    literal = Literal(MilType(element, (2,)), value)
    return Operation(kind, name, {}, {} if value is None else {"val": literal}, (Output(name, MilType(element, (2,))),))


def taking(**operands: str) -> Operation:
    inputs = {name: (Reference(value),) for name, value in operands.items()}
    return Operation("add", "y", inputs, {}, (Output("y", MilType("fp16", SHAPE)),))


ONES = torch.ones(2)


def test_constants_are_no_computing_operations() -> None:
    looked_at = program((constant("a", ONES), {}), (constant("b", None, kind="constexpr_cast"), {}), statement("relu"))
    assert [op.type for op in looked_at.operations] == ["relu"]
    assert looked_at.types["a"] == MilType("fp16", (2,))


def test_a_parameter_is_written_beside_or_is_a_constants() -> None:
    made, named = statement("add", x=SHAPE, y=[1.0, 2.0])
    looked_at = program((constant("a", ONES), {}), (made, named), (taking(x="a", y="y"), {}))
    assert looked_at.numbers(made, "y") == [1.0, 2.0]
    assert looked_at.numbers(taking(x="a"), "x") == [1.0, 1.0]
    assert looked_at.constant(made, "x") is None  # an input of the program
    assert looked_at.constant(made, "z") is None
    assert looked_at.numbers(statement("pad", mode="reflect")[0], "mode") == []


def test_a_compressed_constant_has_no_value_that_is_written() -> None:
    compressed = constant("w", None, kind="constexpr_lut_to_dense")
    looked_at = program((compressed, {}), (taking(x="w"), {}))
    assert looked_at.constant(taking(x="w"), "x") is None
    assert looked_at.source(taking(x="w"), "x") == compressed
    assert looked_at.source(statement("add", y=1.0)[0], "y") is None


def test_shapes_of_operands_are_declared() -> None:
    made, named = statement("add", x=(1, None), y=[1.0, 2.0])
    looked_at = program((made, named))
    assert looked_at.shape(made, "x") == (1, None)
    assert looked_at.shape(made, "y") == (2,)
    assert looked_at.shape(made, "z") == ()
    assert looked_at.shape(taking(x="nowhere"), "x") == ()


@pytest.mark.parametrize(("element", "float_"), [("fp16", True), ("fp32", True), ("int32", False), ("string", False)])
def test_float_constants_are_those_of_computing_operations(element: str, float_: bool) -> None:
    value = "text" if element == "string" else ONES
    looked_at = program((constant("a", value, element), {}), (taking(x="a"), {}))
    assert [(op.type, parameter) for op, parameter, _ in looked_at.floats()] == ([("add", "x")] if float_ else [])


def test_an_operation_without_a_result_has_no_module() -> None:
    assert program().module(Operation("print", "p", {}, {}, ())) == ""
