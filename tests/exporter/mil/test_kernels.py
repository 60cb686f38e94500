"""What the evaluator refuses before anything runs: operations, operands and nested blocks without a kernel."""

import pytest
import torch

from slide_export.mil.errors import MilError
from slide_export.mil.kernels import KERNELS, require
from slide_export.mil.program import Literal, MilType, Operation, Output, Reference

ONE = Literal(MilType("fp32"), torch.ones(()))


def operation(kind: str, *operands: str, has_blocks: bool = False) -> Operation:
    inputs = {name: (Reference("x"),) for name in operands}
    return Operation(kind, f"{kind}_1", inputs, {"name": ONE}, (Output("y", MilType("fp32")),), has_blocks)


def test_operations_with_kernels_are_taken() -> None:
    require(())
    require((operation("add", "x", "y"), operation("relu", "x"), operation("relu")))
    assert KERNELS["const"].parameters == {"val"}


def test_each_that_has_none_is_named_once() -> None:
    with pytest.raises(MilError) as refused:
        require((operation("crop"), operation("relu", "x", "alpha"), operation("crop"), operation("add", "x", "y")))
    assert str(refused.value).startswith(
        "not implemented by the evaluator: operation 'crop' ('crop_1'); operand 'alpha' of relu 'relu_1'. Add it"
    )


def test_an_operand_that_is_an_attribute_counts_too() -> None:
    const = Operation("const", "c", {}, {"name": ONE, "val": ONE}, ())
    require((const,))
    with pytest.raises(MilError, match="operand 'mode' of const 'c'"):
        require((Operation("const", "c", {}, {"val": ONE, "mode": ONE}, ()),))


def test_nested_blocks_are_refused_whatever_has_them() -> None:
    with pytest.raises(MilError, match=r"operation 'relu' \('relu_1'\)"):
        require((operation("relu", "x", has_blocks=True),))
