"""How an operation's implementation reads its operands, and what it must say about itself.

A `Kernel` lists the parameters it implements. A program that gives it another one is refused before anything runs, so a
parameter is never silently skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import MilError
from .program import Operation, Value


@dataclass(frozen=True)
class Arguments:
    """The operands of one operation, by parameter name.

    Attributes:
        operation: the statement that is being evaluated.
        groups: values per parameter, one each except for variadic parameters.
    """

    operation: Operation
    groups: Mapping[str, Sequence[Value]]

    def __contains__(self, name: str) -> bool:
        return name in self.groups

    def fail(self, reason: str) -> MilError:
        """An error that names the operation; to be raised by the caller."""
        return MilError(f"{self.operation}: {reason}")

    def value(self, name: str) -> Value:
        """The operand `name`.

        Raises:
            MilError: the program does not give it.
        """
        if name not in self.groups:
            raise self.fail(f"the operand {name!r} was expected, found {sorted(self.groups)}")
        return self.groups[name][0]

    def tensor(self, name: str) -> Tensor:
        """The operand `name`, which must be a tensor."""
        value = self.value(name)
        if not isinstance(value, Tensor):
            raise self.fail(f"a tensor was expected for {name!r}, found {type(value).__name__}")
        return value

    def optional(self, name: str) -> Tensor | None:
        """The tensor `name`, or None where the program leaves it out."""
        return self.tensor(name) if name in self.groups else None

    def tensors(self, name: str) -> list[Tensor]:
        """All operands of the variadic parameter `name`."""
        self.value(name)  # refuses a missing one
        return [value for value in self.groups[name] if isinstance(value, Tensor)]

    def number(self, name: str, default: float) -> float:
        """A scalar as a Python float."""
        return float(self.tensor(name).item()) if name in self.groups else default

    def integer(self, name: str, default: int | None = None) -> int:
        """A scalar as a Python integer."""
        return int(self.tensor(name).item()) if name in self.groups or default is None else default

    def flag(self, name: str, default: bool) -> bool:
        """A scalar as a Python bool."""
        return bool(self.tensor(name).item()) if name in self.groups else default

    def integers(self, name: str, default: Sequence[int] | None = None) -> list[int]:
        """A vector as a list of Python integers."""
        if name in self.groups or default is None:
            return [int(item) for item in self.tensor(name).reshape(-1).tolist()]
        return list(default)

    def flags(self, name: str, length: int) -> list[bool]:
        """A vector of booleans; all False where the program leaves it out."""
        return [bool(item) for item in self.integers(name, [0] * length)]

    def text(self, name: str, default: str | None = None) -> str:
        """A string."""
        value = self.value(name) if name in self.groups or default is None else default
        if not isinstance(value, str):
            raise self.fail(f"a string was expected for {name!r}, found {type(value).__name__}")
        return value

    def one_of(self, name: str, default: str | None, *accepted: str) -> str:
        """A string out of `accepted`.

        Raises:
            MilError: it is another one, which is therefore not implemented.
        """
        value = self.text(name, default)
        if value not in accepted:
            raise self.fail(f"{name}={value!r} is not implemented; implemented: {', '.join(accepted)}")
        return value


KernelResult = Value | tuple[Value, ...]


@dataclass(frozen=True)
class Kernel:
    """The implementation of one operation type.

    Attributes:
        compute: operands to result; one value per output of the operation.
        parameters: names of the operands that it implements.
        moves: the result has only elements of operands of its own type, so that rounding it again changes nothing.
    """

    compute: Callable[[Arguments], KernelResult]
    parameters: frozenset[str]
    moves: bool = False


def kernel(compute: Callable[[Arguments], KernelResult], parameters: str, *, moves: bool = False) -> Kernel:
    """A kernel for the operands named in `parameters`, separated by blanks."""
    return Kernel(compute, frozenset(parameters.split()), moves)


def unary(function: Callable[[Tensor], Tensor]) -> Kernel:
    """A kernel of the one operand `x`."""
    return kernel(lambda a: function(a.tensor("x")), "x")


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Kernel:
    """A kernel of the two operands `x` and `y`, broadcast as numpy does."""
    return kernel(lambda a: function(a.tensor("x"), a.tensor("y")), "x y")


def per_channel(vector: Tensor, rank: int, axis: int = 1) -> Tensor:
    """A vector laid along `axis` of a tensor of `rank` dimensions; a scalar stays as it is."""
    if vector.dim() == 0:
        return vector
    shape = [1] * rank
    shape[axis] = -1  # [1, C, 1, 1] for axis 1 of rank 4
    return torch.reshape(vector, shape)
