"""The constants of an asset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slide_export.core.stored import StoredConstant, exact, rounded_float

from .asset import read_asset


def stored(path: Path, settings: Mapping[str, Any]) -> Iterator[StoredConstant]:
    """Every tensor of a program, under the hash of its bytes: no other name is in the file.

    Tensors of two programs that differ by a precision have other hashes, and find each other by their values.

    Raises:
        BundleError: the asset cannot be read.
    """
    for constant in read_asset(path).constants:
        if constant.values.dtype.kind == "f":
            yield rounded_float(constant.name, constant.kind, constant.values)
        else:
            yield exact(constant.name, constant.values)
