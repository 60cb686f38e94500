"""What a `.tflite` file stores and computes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slide_export.core.artifact import FLOAT32_VECTORS, DtypeStats

from . import flatbuffer
from .flatbuffer import Graph, Operation, Tensor
from .halves import is_matrix

COUNTED = frozenset({"float32", "float16", "int8", "uint8", "int16", "float64"})
"""Types of weights; int32 and int64 are shapes, axes and the biases of int8 layers."""


def dtype_stats(path: Path, settings: Mapping[str, Any]) -> DtypeStats:
    """Bytes of constants and, of each convolution and matrix product, the type that LiteRT computes it in.

    1. Both operands are 8-bit: int8.
    2. Weights are 8-bit and the first operand float: int8 too, a range for each input as it comes (hybrid kernels).
    3. Weights are expanded by a DEQUANTIZE: the type of the first operand, and marked where they were 8-bit.

    Raises:
        BundleError: the file cannot be read.
    """
    graph = flatbuffer.read(path)
    half = any(tensor.type == "float16" for tensor in graph.tensors)
    stored: Counter[str] = Counter()
    for tensor in graph.tensors:
        if tensor.data is not None and tensor.type in COUNTED:
            apart = half and tensor.type == "float32" and not is_matrix(tensor.shape)
            stored[FLOAT32_VECTORS if apart else tensor.type] += tensor.data.nbytes
    computed: Counter[str] = Counter()
    marked = 0
    for operation, first, weights in graph.products():
        kind, eight = _product(graph, operation, first, weights)
        computed[kind] += 1
        marked += eight
    return DtypeStats(dict(stored), dict(computed), marked=marked)


def _product(graph: Graph, operation: Operation, first: Tensor, weights: Tensor) -> tuple[str, bool]:
    """Type that a product computes in, and whether its weights are 8-bit."""
    source = graph.expanded_from(operation.inputs[flatbuffer.PRODUCTS[operation.name]])
    if source is not None:
        return first.type, source.type == "int8"
    eight = weights.type == "int8"
    return ("int8" if eight else first.type), eight and weights.data is not None
