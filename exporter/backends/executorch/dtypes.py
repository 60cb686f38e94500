"""What a program stores and computes in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slide_export.core.artifact import DtypeStats

from .program import HEAVY, PRODUCTS, Part, read_program

CONVOLUTIONS = HEAVY - {"XNNFullyConnected"}
TAKEN_IN_FLOAT32 = "float32 of float16 convolutions"
"""Filters and biases of convolutions that compute in float16: XNNPACK takes them in float32 alone, and rounds them as
it loads (executorch 1.5.1, backends/xnnpack/operators/op_conv2d.py: `force_fp32`). Nobody can ask for another type, so
they are counted apart, and no part of the share by which a precision is judged."""
NORMS = "float32 of float16 LayerNorms"
"""Weights and biases of LayerNorms in a float16 program. They compute in float32, for the kernel of float16 is wrong
from 256 channels on: nobody can ask for another type of them either."""


def dtype_stats(path: Path, settings: Mapping[str, Any]) -> DtypeStats:
    """Types of the stored tensors and, of each convolution and matrix product, of what it multiplies.

    Raises:
        BundleError: the program cannot be read.
    """
    program = read_program(path)
    nodes = [(part, name, fields) for part in program.parts for name, fields in part.nodes if name in PRODUCTS]
    computed = Counter(part.values[fields["input1_id"]] for part, _, fields in nodes)
    apart = dict.fromkeys(program.norms, NORMS) if "float16" in computed else {}
    apart |= {name: TAKEN_IN_FLOAT32 for part in program.parts for name in _taken_in_float32(part)}
    stored: Counter[str] = Counter()
    for constant in program.every_constant():
        kind = apart.get(constant.name, constant.kind) if constant.kind == "float32" else constant.kind
        stored[kind] += constant.values.nbytes
    filters = [part.constants.get(fields["filter_id"]) for part, name, fields in nodes if name in HEAVY]
    marked = sum(constant is not None and constant.kind == "int8" for constant in filters)
    return DtypeStats(dict(stored), dict(computed), marked=marked)


def _taken_in_float32(part: Part) -> Iterator[str]:
    """Names of the float32 constants of a part's convolutions that compute in float16."""
    for name, fields in part.nodes:
        if name in CONVOLUTIONS and part.values[fields["input1_id"]] == "float16":
            held = (part.constants.get(fields.get(key, -1)) for key in ("filter_id", "bias_id"))
            yield from (constant.name for constant in held if constant is not None)
