"""What a program stores and computes in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slide_export.core.artifact import DtypeStats

from .program import HEAVY, PRODUCTS, read_program


def dtype_stats(path: Path, settings: Mapping[str, Any]) -> DtypeStats:
    """Types of the stored tensors and, of each convolution and matrix product, of what it multiplies.

    Raises:
        BundleError: the program cannot be read.
    """
    program = read_program(path)
    stored: Counter[str] = Counter()
    for constant in program.every_constant():
        stored[constant.kind] += constant.values.nbytes
    nodes = [(part, name, fields) for part in program.parts for name, fields in part.nodes if name in PRODUCTS]
    computed = Counter(part.values[fields["input1_id"]] for part, _, fields in nodes)
    filters = [part.constants.get(fields["filter_id"]) for part, name, fields in nodes if name in HEAVY]
    marked = sum(constant is not None and constant.kind == "int8" for constant in filters)
    return DtypeStats(dict(stored), dict(computed), marked=marked)
