"""A saved `.mlpackage` as the Neural Engine rules look at it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch

from slide_export.mil import Operation, Package
from slide_export.mil.module_names import module_names
from slide_export.mil.program import FLOAT_TYPES, Literal, MilType, Reference, Value

from .rules import Device


class Program:
    """The computing operations of a package with their operands' types, constants and PyTorch modules."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.operations = tuple(op for op in package.operations() if not op.is_constant and op.type != "const")
        self._constants = {op.outputs[0].name: op for op in package.operations() if op.is_constant}

    @cached_property
    def types(self) -> dict[str, MilType]:
        """The declared type of every value."""
        types = dict(self.package.program.inputs)
        types.update((output.name, output.type) for op in self.package.operations() for output in op.outputs)
        return types

    @cached_property
    def _modules(self) -> dict[str, str]:
        return module_names(self.package.operations())

    def module(self, op: Operation) -> str:
        """Returns the PyTorch module of an operation as well as the program tells it."""
        return self._modules.get(op.outputs[0].name, "") if op.outputs else ""

    def place(self, op: Operation, found: str) -> Device:
        """Returns where `found` is."""
        return self.module(op), f"{op.type} {op.name}: {found}"

    def constant(self, op: Operation, parameter: str) -> Value | None:
        """Returns what a parameter is set to, None where it is absent or computed."""
        binding = next((group[0] for name, group in op.bindings() if name == parameter and group), None)
        if isinstance(binding, Reference):
            source = self._constants.get(binding.name)
            binding = None if source is None else source.attributes.get("val")
        return self.package.value(binding) if isinstance(binding, Literal) else None

    def numbers(self, op: Operation, parameter: str) -> list[float]:
        """Returns a parameter's numbers, an empty list where it has none."""
        value = self.constant(op, parameter)
        return [float(item) for item in value.reshape(-1)] if isinstance(value, torch.Tensor) else []

    def source(self, op: Operation, parameter: str) -> Operation | None:
        """Returns the constant operation that gives a parameter."""
        binding = next((group[0] for name, group in op.bindings() if name == parameter and group), None)
        return self._constants.get(binding.name) if isinstance(binding, Reference) else None

    def shape(self, op: Operation, parameter: str) -> tuple[int | None, ...]:
        """Returns the declared shape of an operand, () where there is none."""
        binding = next((group[0] for name, group in op.bindings() if name == parameter and group), None)
        if isinstance(binding, Reference):
            return self.types[binding.name].shape if binding.name in self.types else ()
        return binding.type.shape if binding is not None else ()

    def floats(self) -> Iterator[tuple[Operation, str, torch.Tensor]]:
        """Yields every constant float operand: the operation that takes it, the parameter, the values."""
        for op in self.operations:
            for parameter, group in op.bindings():
                for binding in group:
                    source = self._constants.get(binding.name) if isinstance(binding, Reference) else None
                    literal = binding if isinstance(binding, Literal) else source and source.attributes.get("val")
                    if isinstance(literal, Literal) and literal.type.element in FLOAT_TYPES:
                        value = self.package.value(literal)
                        if isinstance(value, torch.Tensor):
                            yield op, parameter, value
