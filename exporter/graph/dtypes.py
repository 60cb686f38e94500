"""What an ONNX graph stores and computes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from slide_export.core.artifact import DtypeStats
from slide_export.core.graph import inside, sorting_modules

from .values import dequantize_of, scope_of

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

HEAVY = frozenset({"Conv", "Gemm", "MatMul"})
INTEGER = frozenset({"ConvInteger", "MatMulInteger"})
KEPT_FLOAT32 = "kept_float32"
"""Key of the graph's metadata: scopes of the nodes that were asked for in float32, separated by spaces."""
ASKED_IN_FLOAT32 = "float32 of modules kept in float32"
"""Products of those modules, of their family's choice or the user's: counted apart, and no part of the share by which a
precision is judged. NBNet's Gram-Schmidt is 248 small products beside 85 convolutions."""


def count(proto: onnx.ModelProto) -> DtypeStats:
    """The types of the initializers and, of each convolution and matrix product, of its first input.

    1. Both inputs of a product come from a DequantizeLinear: it computes in 8 bits, as every runtime reads it.
    2. Any other product computes in the type of its first input.
    3. The second comes from a DequantizeLinear of an initializer: its weights are marked as quantized, either way.
    4. A product of integers by its own name, with a constant: it computes in 8 bits, with marked weights.
    5. A product of a module that sorts is float32 whatever the precision is: not counted.
    6. A float32 product of a module that was asked for in float32: counted apart.
    """
    from slide_export.graph.convert import to_ir
    from slide_export.graph.shapes import infer

    model = to_ir(proto)
    infer(model)
    stored: Counter[str] = Counter()
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            stored[_name(value.const_value.dtype)] += value.const_value.nbytes
    computed: Counter[str] = Counter()
    marked = 0
    sorts = sorting_modules(scope_of(node.name or "") for node in model.graph if node.op_type == "TopK")
    asked = frozenset(model.metadata_props.get(KEPT_FLOAT32, "").split())
    for node in model.graph:
        scope = scope_of(node.name or "")
        if inside(scope, sorts):  # Case 5
            continue
        if node.op_type in INTEGER and (second := node.inputs[1]) is not None:  # Case 4
            marked += second.is_initializer()
            computed["int8"] += 1
            continue
        if node.op_type not in HEAVY or (first := node.inputs[0]) is None or (second := node.inputs[1]) is None:
            continue
        dequantize = dequantize_of(second)
        weight = None if dequantize is None else dequantize.inputs[0]
        marked += weight is not None and weight.is_initializer()  # Case 3
        whole = dequantize is not None and dequantize_of(first) is not None  # Case 1
        kind = "int8" if whole else _name(first.dtype)  # Case 2
        computed[ASKED_IN_FLOAT32 if kind == "float32" and scope in asked else kind] += 1
    return DtypeStats(dict(stored), dict(computed), marked=marked)


def _name(kind: ir.DataType | None) -> str:
    return "undefined" if kind is None else str(kind.numpy())
