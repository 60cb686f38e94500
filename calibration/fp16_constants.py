"""Large tables of a quantized graph in half: position biases, added to attention's logits and never multiplied.

At 224 the six biases of Slide-Swin-T's third stage (12 heads, 196 x 196 positions) are 10.6 MiB of float32 beside
26.9 MiB of 8-bit weights. As float16 each is off by 2^-11 of itself at most, far below what quantization costs, and the
cast behind it is folded when a runtime loads the graph.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from slide_export.graph.convert import constant

from .fp16 import FLOAT16_MAX, FULL
from .layer_selection import in_modules

MIN_TABLE_ELEMENTS = 2**14  # 64 KiB of float32
ADDING = frozenset({"Add", "Sub"})


class HalveTables(ir.passes.InPlacePass):
    """Store large constants that are only added as float16.

    1. A float32 constant of at least `MIN_TABLE_ELEMENTS` that nodes add and nobody else reads: float16, with a cast
       to float32 in front of the graph.
    2. A smaller one, or one that some node multiplies, gathers or gives out: as it is.
    3. One that a module takes which stays in float: as it is.
    4. One beyond float16: as it is.

        Given    logits, table float32 [12, 196, 196] -> Add -> biased
        Result   table_half float16 -> Cast -> table; logits, table -> Add -> biased
    """

    def __init__(self, keep: Sequence[str]) -> None:
        self.keep = keep

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite in place."""
        weights, casts = [], []
        for value in model.graph.initializers.values():
            if self._fits(value):
                cast = _halved(value)
                casts.append(cast)
                weights.append(cast.inputs[0])
            else:
                weights.append(value)
        if casts:
            model.graph.initializers.clear()  # a half stands where its table stood: the same graph, the same bytes
            for weight in weights:
                if weight is not None:
                    model.graph.initializers.add(weight)
            model.graph.insert_before(model.graph[0], casts)
        return ir.passes.PassResult(model, bool(casts))

    def _fits(self, value: ir.Value) -> bool:
        tensor, users = value.const_value, [use.node for use in value.uses()]
        if tensor is None or tensor.dtype != FULL or value.is_graph_output() or tensor.size < MIN_TABLE_ELEMENTS:
            return False  # Case 2
        if not users or any(node.op_type not in ADDING or in_modules(node.name or "", self.keep) for node in users):
            return False  # Cases 2 and 3
        return bool(np.abs(tensor.numpy()).max() <= FLOAT16_MAX)  # Case 4


def _halved(table: ir.Value) -> ir.Node:
    """The cast that gives a table to its users from now on."""
    numbers = np.zeros(0, np.float32) if table.const_value is None else table.const_value.numpy()
    half = constant(ir.tensor(numbers.astype(np.float16), name=f"{table.name}_half"))
    cast = ir.node("Cast", [half], {"to": int(FULL)}, name=f"{table.name}/Cast")
    table.replace_all_uses_with(cast.outputs[0])
    cast.outputs[0].name, cast.outputs[0].type, cast.outputs[0].shape = table.name, table.type, table.shape
    return cast
