"""A checked ONNX model and the tensors at its ends."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

MAX_RANK = 5
"""Highest rank of a tensor in what is exported: coremltools and the Neural Engine take no more (coremltools#1723)."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, element type and shape of an input or output; a str in the shape is a dynamic size."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class OnnxGraph:
    """A checked ONNX model."""

    proto: onnx.ModelProto
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Value:
    """A value that an artifact computes from its inputs.

    Attributes:
        name: what `intermediates` knows it by.
        scope: dotted path of the PyTorch module that computed it, perhaps with a tail that is no module; None where the
            artifact does not tell.
        takes: names of the values that it is computed from.
        output_of: modules whose output it is, where the artifact shows few values and says so itself; None where
            scopes have to tell.
    """

    name: str
    scope: str | None
    takes: tuple[str, ...]
    output_of: tuple[str, ...] | None = None


ROUND = re.compile(r"(.+)\.rounds\.\d+")
"""Scope of one round of a module that sorts, see `models.sorting`."""


def sorting_modules(scopes: Iterable[str]) -> tuple[str, ...]:
    """The modules that sort by what they compute, from the scopes of all operations that sort.

    Given    a.sort.rounds.0, a.sort.rounds.1, a: where an order of integers is inverted
    Result   a.sort
    """
    return tuple(dict.fromkeys(found[1] for scope in scopes if (found := ROUND.fullmatch(scope))))


def inside(scope: str, modules: Iterable[str]) -> bool:
    """Whether a scope is one of some modules, or in one."""
    return any(scope == module or scope.startswith(f"{module}.") for module in modules)
