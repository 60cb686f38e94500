"""The constants of a program as its runtime expands them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slide_export.core.artifact import Array
from slide_export.core.stored import StoredConstant, exact, rounded_float, stepped

from .program import read_program


def stored(path: Path, settings: Mapping[str, Any]) -> Iterator[StoredConstant]:
    """Every tensor of a program, under the hash of its bytes: no other name is in the file.

    Tensors of two programs that differ by a precision have other hashes, and find each other by their values. Where a
    kernel takes float32 alone, as of convolutions and LayerNorm, a float16 program stores its halves in float32.

    Raises:
        BundleError: the program cannot be read.
    """
    constants = read_program(path).every_constant()
    half = any(constant.kind == "float16" for constant in constants)
    for constant in constants:
        if constant.scale is not None:
            zero = np.full((), constant.zero)
            yield stepped(constant.name, constant.kind, constant.values, constant.scale, zero)
        elif constant.values.dtype.kind == "f":
            kind = "float16" if half and _are_halves(constant.values) else constant.kind
            yield rounded_float(constant.name, kind, constant.values)
        else:
            yield exact(constant.name, constant.values)


def _are_halves(values: Array) -> bool:
    """Whether float16 holds every value as it is."""
    with np.errstate(over="ignore"):
        return bool(np.array_equal(values, values.astype(np.float16).astype(values.dtype)))
