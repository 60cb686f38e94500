"""Statements of ML Programs written down as values, those that coremltools refuses to write among them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from slide_export.backends.coreml.ane.program import Program
from slide_export.mil import Operation, Package
from slide_export.mil import program as values
from slide_export.mil.program import Binding, Feature, Literal, MilType, Output, Reference

SHAPE = (1, 64, 32, 32)
Statement = tuple[Operation, dict[str, MilType]]


def statement(kind: str, result: Sequence[int | None] = SHAPE, element: str = "fp16", **operands: Any) -> Statement:
    """One operation `kind` that gives y.

    Args:
        result: shape of y.
        element: element type of y.
        operands: a tuple is the shape of an input of the program, anything else a constant.
    """
    inputs, taken = {}, {}
    for name, value in operands.items():
        binding: Binding
        if isinstance(value, tuple):
            inputs[name] = MilType("fp16", value)
            binding = Reference(name)
        elif isinstance(value, str):
            binding = Literal(MilType("string"), value)
        else:
            tensor = torch.as_tensor(value)
            binding = Literal(MilType("fp16" if tensor.is_floating_point() else "int32", tuple(tensor.shape)), tensor)
        taken[name] = (binding,)
    return Operation(kind, "y", taken, {}, (Output("y", MilType(element, tuple(result))),)), inputs


def program(*statements: Statement, inputs: Sequence[Feature] = (), outputs: Sequence[Feature] = ()) -> Program:
    """A package of these statements, as the rules look at it."""
    declared = {name: kind for _, named in statements for name, kind in named.items()}
    operations = tuple(operation for operation, _ in statements)
    inside = values.Program("CoreML7", declared, operations, ("y",))
    return Program(Package(Path("model.mlpackage"), tuple(inputs), tuple(outputs), inside, {}))


def array(shape: tuple[int, ...], element: str = "fp16", **fields: Any) -> Feature:
    return Feature("x", "array", element, shape, **fields)
