"""Operands as kernels read them: of the type that is expected, or refused with the operation's name."""

from typing import Any

import pytest
import torch

from slide_export.mil.arguments import Arguments, binary, kernel, per_channel, unary
from slide_export.mil.errors import MilError
from slide_export.mil.program import Operation

CALLED = Operation("conv", "c1", {}, {}, ())


def arguments(**operands: Any) -> Arguments:
    return Arguments(
        CALLED, {name: value if isinstance(value, tuple) else (value,) for name, value in operands.items()}
    )


def test_operands_by_their_type() -> None:
    a = arguments(x=torch.ones(2), n=torch.tensor(3), f=torch.tensor(0.5), b=torch.tensor(True), t="same")
    assert torch.equal(a.tensor("x"), torch.ones(2))
    assert (a.integer("n"), a.number("f", 9.0), a.flag("b", False), a.text("t")) == (3, 0.5, True, "same")
    assert "x" in a
    assert "y" not in a


def test_what_a_program_leaves_out_has_a_default() -> None:
    a = arguments()
    assert a.optional("x") is None
    assert (a.integer("n", 7), a.number("f", 0.25), a.flag("b", True), a.text("t", "u")) == (7, 0.25, True, "u")
    assert (a.integers("i", [1, 2]), a.flags("m", 3)) == ([1, 2], [False, False, False])
    for missing in (lambda: a.integer("n"), lambda: a.text("t"), lambda: a.integers("i"), lambda: a.tensor("x")):
        with pytest.raises(MilError, match=r"conv 'c1': the operand '.' was expected, found \[\]"):
            missing()


def test_vectors_of_any_shape_are_lists() -> None:
    a = arguments(i=torch.tensor([[1, 2], [3, 4]]), m=torch.tensor([True, False]))
    assert a.integers("i") == [1, 2, 3, 4]
    assert a.flags("m", 2) == [True, False]


def test_all_operands_of_a_variadic_parameter() -> None:
    a = arguments(values=(torch.ones(1), "a name", torch.zeros(2)))
    assert [one.numel() for one in a.tensors("values")] == [1, 2]
    with pytest.raises(MilError, match="the operand 'others' was expected"):
        a.tensors("others")


def test_another_type_is_refused() -> None:
    a = arguments(x="text", t=torch.ones(1))
    with pytest.raises(MilError, match="conv 'c1': a tensor was expected for 'x', found str"):
        a.tensor("x")
    with pytest.raises(MilError, match="a string was expected for 't', found Tensor"):
        a.text("t")


def test_a_choice_that_is_not_implemented_is_refused_with_those_that_are() -> None:
    a = arguments(mode="CUBIC")
    assert a.one_of("mode", None, "LINEAR", "CUBIC") == "CUBIC"
    assert a.one_of("other", "LINEAR", "LINEAR") == "LINEAR"
    with pytest.raises(MilError, match="mode='CUBIC' is not implemented; implemented: LINEAR, NEAREST"):
        a.one_of("mode", None, "LINEAR", "NEAREST")


def test_a_kernel_says_which_operands_it_implements() -> None:
    assert kernel(lambda _: torch.ones(1), "x y z").parameters == {"x", "y", "z"}
    assert not kernel(lambda _: torch.ones(1), "x").moves
    assert unary(torch.neg).compute(arguments(x=torch.ones(1))) == torch.tensor([-1.0])
    difference = binary(torch.sub)
    assert difference.compute(arguments(x=torch.tensor([3.0]), y=torch.tensor([1.0]))) == torch.tensor([2.0])
    assert difference.parameters == {"x", "y"}


@pytest.mark.parametrize(("rank", "axis", "shape"), [(4, 1, (1, 3, 1, 1)), (2, 1, (1, 3)), (3, 2, (1, 1, 3))])
def test_a_vector_lies_along_its_axis(rank: int, axis: int, shape: tuple[int, ...]) -> None:
    assert per_channel(torch.ones(3), rank, axis).shape == shape
    assert per_channel(torch.tensor(2.0), rank, axis).shape == ()
