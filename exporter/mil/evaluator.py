"""An ML Program on the CPU with PyTorch.

All float arithmetic is float32. In mode `float32` nothing is rounded: the result is the graph's semantics with the
stored weights. In mode `typed` every value that the program declares fp16 is rounded to fp16 when it is stored, inputs
and weights included; sums inside one operation stay float32, as on hardware with wide accumulators. Neither mode models
a device: fused kernels, tabulated functions and the placement of operations differ between chips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from . import features
from .arguments import Arguments
from .errors import MilError
from .features import Array
from .kernels import KERNELS, require
from .package import Package
from .program import STORAGE, MilType, Operation, Reference, Value
from .program import Literal as ProgramLiteral

Mode = Literal["float32", "typed"]
Observer = Callable[[Operation, str, torch.Tensor], None]

# What a kernel raises for operands it cannot take; anything else is a mistake in the kernel and passes through.
KERNEL_ERRORS = (RuntimeError, ValueError, IndexError, TypeError)


@dataclass(frozen=True)
class Evaluator:
    """A package, ready to run.

    Weights are decoded, and `constexpr_*` decompressed, once on construction.

    Attributes:
        package: what to run.
        mode: `float32` or `typed`, see the module's docstring.
    """

    package: Package
    mode: Mode = "float32"
    _constants: Mapping[str, Value] = field(init=False, repr=False)
    _expiring: Mapping[int, tuple[str, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Decode the constants.

        Raises:
            MilError: the program has an operation or an operand that is not implemented, or the mode is unknown.
        """
        if self.mode not in ("float32", "typed"):
            raise MilError(f"mode 'float32' or 'typed' was expected, found {self.mode!r}")
        operations = self.package.operations()
        require(operations)
        constants: dict[str, Value] = {}
        for operation in operations:
            if operation.is_constant:
                constants.update(self._evaluate(operation, constants))
        object.__setattr__(self, "_constants", constants)  # frozen: set once, on construction
        object.__setattr__(self, "_expiring", _last_uses(operations))

    def run(
        self, feeds: Mapping[str, Array], watch: Sequence[str] = (), observe: Observer | None = None
    ) -> dict[str, Array]:
        """Outputs by feature name, then the watched values by their names in the program.

        Floats come back as float32 (on the fp16 grid where mode `typed` rounds them). A classifier's label is an array
        of no dimensions, its probabilities a vector in the order of the classes.

        Args:
            feeds: one array per input feature. An image is uint8 (H, W, C) in RGB, or (1, C, H, W) of 0..255.
            watch: names of values inside the program to return too.
            observe: called with every tensor that is computed from the inputs, as soon as it is there.

        Raises:
            MilError: the feeds do not fit, a watched name does not exist, or an operation fails.
        """
        self._check_names(watch)
        returned = list(dict.fromkeys((*self.package.program.outputs, *watch)))
        values = self._inputs(feeds)
        results = {name: values[name] for name in returned if name in values}  # an input may be an output as it is
        results.update({name: self._constants[name] for name in returned if name in self._constants})
        for index, operation in enumerate(self.package.operations()):
            if not operation.is_constant:
                computed = self._evaluate(operation, values)
                values.update(computed)
                results.update({name: value for name, value in computed.items() if name in returned})
                if observe is not None:
                    _show(observe, operation, computed)
            for name in self._expiring.get(index, ()):
                values.pop(name, None)  # the memory goes back: a program holds few values at a time
        return {name: _array(results[name]) for name in returned}

    def _inputs(self, feeds: Mapping[str, Array]) -> dict[str, Value]:
        types = self.package.program.inputs
        tensors = features.tensors(feeds, self.package.inputs, types)
        return {name: self._stored(tensor, types[name]) for name, tensor in tensors.items()}

    def _evaluate(self, operation: Operation, values: Mapping[str, Value]) -> dict[str, Value]:
        """Values of the operation's outputs, by name."""
        groups = {
            name: [self._operand(operation, binding, values) for binding in bindings]
            for name, bindings in operation.bindings()
        }
        known = KERNELS[operation.type]
        try:
            with torch.no_grad():
                result = known.compute(Arguments(operation, groups))
        except MilError:  # it names the operation already
            raise
        except KERNEL_ERRORS as error:
            raise MilError(f"{operation} could not be evaluated: {error}") from error
        computed = result if isinstance(result, tuple) else (result,)
        if len(computed) != len(operation.outputs):
            raise MilError(f"{operation}: {len(operation.outputs)} outputs are declared, {len(computed)} were computed")
        pairs = zip(operation.outputs, computed, strict=True)
        return {output.name: self._stored(value, output.type, exact=known.moves) for output, value in pairs}

    def _operand(self, operation: Operation, binding: ProgramLiteral | Reference, values: Mapping[str, Value]) -> Value:
        if isinstance(binding, ProgramLiteral):
            return self.package.value(binding)
        if binding.name in values:
            return values[binding.name]
        if not operation.is_constant and binding.name in self._constants:
            return self._constants[binding.name]
        raise MilError(f"{operation} uses {binding.name!r}, which no earlier operation and no input defines")

    def _stored(self, value: Value, declared: MilType, exact: bool = False) -> Value:
        """The value as the program declares it: cast to its storage type, rounded to fp16 in mode `typed`.

        Args:
            value: as computed.
            declared: its type.
            exact: it is on the fp16 grid already.
        """
        if not isinstance(value, torch.Tensor) or declared.element not in STORAGE:  # a label, or a list of classes
            return value
        value = value.to(STORAGE[declared.element])
        if self.mode == "typed" and declared.element == "fp16" and not exact:
            value = value.to(torch.float16).to(torch.float32)  # to nearest even, as a store does
        return value

    def _check_names(self, watch: Sequence[str]) -> None:
        known = {output.name for operation in self.package.operations() for output in operation.outputs}
        unknown = sorted(set(watch) - known - set(self.package.program.inputs))
        if unknown:
            raise MilError(f"values of the program were expected in watch, it has none named {unknown}")


def _last_uses(operations: Sequence[Operation]) -> dict[int, tuple[str, ...]]:
    """Names whose last use is the operation at an index, so that their memory can be given back after it."""
    last: dict[str, int] = {}
    for index, operation in enumerate(operations):
        for output in operation.outputs:
            last[output.name] = index  # a value without a user ends with its own operation
        for _, bindings in operation.bindings():
            last.update({binding.name: index for binding in bindings if isinstance(binding, Reference)})
    expiring: dict[int, list[str]] = {}
    for name, index in last.items():
        expiring.setdefault(index, []).append(name)
    return {index: tuple(names) for index, names in expiring.items()}


def _show(observe: Observer, operation: Operation, computed: Mapping[str, Value]) -> None:
    for name, value in computed.items():
        if isinstance(value, torch.Tensor):
            observe(operation, name, value)


def _array(value: Value) -> Array:
    return value.numpy().copy() if isinstance(value, torch.Tensor) else np.asarray(value)
