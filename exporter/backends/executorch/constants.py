"""The constants of a program as its runtime expands them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slide_export.core.stored import StoredConstant, exact, rounded_float, stepped

from .program import read_program


def stored(path: Path, settings: Mapping[str, Any]) -> Iterator[StoredConstant]:
    """Every tensor of a program, under the hash of its bytes: no other name is in the file.

    Tensors of two programs that differ by a precision have other hashes, and find each other by their values.

    Raises:
        BundleError: the program cannot be read.
    """
    for constant in read_program(path).every_constant():
        if constant.scale is not None:
            zero = np.full((), constant.zero)
            yield stepped(constant.name, constant.kind, constant.values, constant.scale, zero)
        elif constant.values.dtype.kind == "f":
            yield rounded_float(constant.name, constant.kind, constant.values)
        else:
            yield exact(constant.name, constant.values)
