"""The batch by name behind every reshape that leaves it alone.

ONNX Runtime needs that: it keeps the operands of an element-wise operator in its blocked layout only where it can tell
that their shapes are equal.
"""

import math

import numpy as np
import onnx_ir as ir

from slide_export.graph.convert import constant
from slide_export.graph.shapes import forget, infer, known

UNKNOWN, COPY = -1, 0


class KeepBatch(ir.passes.InPlacePass):
    """Say of a reshape that it copies the first size.

    The tracer writes `reshape(-1, ...)` as it was called, and shape inference then knows nothing of the batch behind
    it. With 0, which copies a size, the batch keeps its name through the whole graph.

    1. The shape is computed, or its first size is a number: as it is.
    2. A size behind the first is unknown, or the sizes behind it hold another number of elements before and after, so
       that the batch is taken apart or merged with something: as it is.
    3. The batch is left alone: the first size becomes 0. The shape is a new constant, for the old one may have users
       of the other two kinds; one that nobody uses any more goes.

        Given    x [batch, 4, 6] -> Reshape(shape: [-1, 24]) -> y [unk__0, 24]
        Result   x [batch, 4, 6] -> Reshape(shape: [0, 24])  -> y [batch, 24]
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite the reshapes and infer every shape from the inputs on."""
        inferred = model
        if not known(model):  # else onnxsim has inferred them
            inferred = model.clone()  # what the graph gives keeps the shape that it states, or none
            infer(inferred)
        modified = False
        for index, (node, seen) in enumerate(zip(model.graph, inferred.graph, strict=True)):
            if node.op_type == "Reshape" and (sizes := _without_batch(seen)) is not None:  # Case 3
                shape = ir.tensor(np.array([COPY, *sizes], np.int64), name=f"shape_{index}")
                value = constant(shape)
                model.graph.register_initializer(value)
                node.replace_input_with(1, value)
                modified = True
        modified |= _drop_unused(model.graph)
        forget(model)  # else inference keeps the names of sizes that were unknown
        infer(model, strict=True, data_prop=True)
        return ir.passes.PassResult(model, modified)


def _without_batch(node: ir.Node) -> list[int] | None:
    """The sizes behind the batch that a reshape leaves alone, None where it does not or nobody knows."""
    given, shape = node.inputs[0], ir.convenience.get_const_tensor(node.inputs[1]) if node.inputs[1] else None
    if shape is None or given is None or given.shape is None or given.shape.rank() == 0:  # Case 1
        return None
    wanted = [int(size) for size in shape.numpy()]
    sizes = [size for size in given.shape[1:] if isinstance(size, int)]
    if wanted[0] != UNKNOWN or len(sizes) < given.shape.rank() - 1:  # Cases 1 and 2
        return None
    return wanted[1:] if math.prod(sizes) == math.prod(wanted[1:]) else None  # Case 2


def _drop_unused(graph: ir.Graph) -> bool:
    unused = [name for name, value in graph.initializers.items() if not value.uses() and not value.is_graph_output()]
    for name in unused:
        del graph.initializers[name]
    return bool(unused)
