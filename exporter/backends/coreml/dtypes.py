"""What a package stores and computes in."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slide_export.core.artifact import DtypeStats
from slide_export.core.graph import inside, sorting_modules

from .orders import SORTS
from .package import read_package

if TYPE_CHECKING:
    from slide_export.mil import Package
    from slide_export.mil.program import MilType, Operation

HEAVY = frozenset({"conv", "conv_transpose", "linear", "matmul", "scaled_dot_product_attention"})


def dtype_stats(path: Path, settings: Mapping[str, Any]) -> DtypeStats:
    """Types of the stored weights and, of each convolution and matrix product, of its result.

    Those of a module that sorts are float32 whatever the precision is, and are not counted.

    Raises:
        BundleError: the package cannot be read.
    """
    package = read_package(path)
    modules = package.modules() or {}
    sorts = sorting_modules(modules.get(op.name, "") for op in package.operations() if op.type in SORTS)
    heavy = [op for op in package.operations() if op.type in HEAVY and not inside(modules.get(op.name, ""), sorts)]
    computed = Counter(_numpy_name(operation.outputs[0].type.element) for operation in heavy)
    return DtypeStats(_stored(package), dict(computed), marked=_compressed(package, heavy))


def _compressed(package: Package, heavy: list[Operation]) -> int:
    """Number of the operations that have a weight that a `constexpr_*` operation decompresses."""
    from slide_export.mil.program import Reference

    packed = {output.name for op in package.operations() if op.type.startswith("constexpr_") for output in op.outputs}
    fed = (
        {value.name for _, values in op.bindings() for value in values if isinstance(value, Reference)} for op in heavy
    )
    return sum(bool(packed & names) for names in fed)


def _stored(package: Package) -> dict[str, int]:
    """Bytes of the weight file's entries, once each, and of the floats in the program itself."""
    from slide_export.mil.program import FLOAT_TYPES, Literal

    places: dict[tuple[str, int, str], Literal] = {}
    for operation in package.operations():
        for name, bindings in operation.bindings():
            for index, value in enumerate(bindings):
                if isinstance(value, Literal) and (value.file or value.type.element in FLOAT_TYPES):
                    where = (value.file, value.offset, "" if value.file else f"{operation.name} {name} {index}")
                    places[where] = value
    stored: Counter[str] = Counter()
    for value in places.values():
        stored[_numpy_name(value.type.element)] += _bytes(value.type)
    return dict(stored)


def _numpy_name(element: str) -> str:
    return element.replace("fp", "float")


def _bytes(kind: MilType) -> int:
    bits = re.search(r"\d+", kind.element)  # bool has none, and takes a byte
    return -(-math.prod(size or 0 for size in kind.shape) * int(bits[0] if bits else 8) // 8)
