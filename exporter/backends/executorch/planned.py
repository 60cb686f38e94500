"""Memory for the largest batch, whatever lowering has come to believe of it.

ExecuTorch plans memory for the upper end of each symbol's range. Its passes trace the program again and again with a
batch of 2, and a comparison that holds there becomes a fact: a Slide-CSwin of which maps of 8 windows of 64 tokens are
viewed is taken to have 2 to 7 images, for 8 * 8 is not below 64.

    exported   batch 1 to 8
    lowered    batch 2 to 7
    planned    batch 1 to 8

That the program computes the others too is for the proof to say, which runs the largest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.utils._sympy.value_ranges import ValueRanges

if TYPE_CHECKING:
    from executorch.exir.passes.sym_shape_eval_pass import ConstraintBasedSymShapeEvalPass
    from torch.fx import GraphModule
    from torch.fx.passes.infra.pass_base import PassResult


def planned_for(largest: int) -> ConstraintBasedSymShapeEvalPass:
    """The pass that evaluates shapes for memory, at this upper bound of the batch, or of the groups that it counts."""
    from executorch.exir.passes.sym_shape_eval_pass import ConstraintBasedSymShapeEvalPass

    class AtBound(ConstraintBasedSymShapeEvalPass):  # type: ignore[misc]  # the library has no types
        """The library's own, after the range of the inputs' symbol is what it was."""

        def call(self, graph_module: GraphModule) -> PassResult:
            """Evaluate every shape of a lowered graph, in place."""
            for node in graph_module.graph.nodes:
                value = node.meta.get("val") if node.op == "placeholder" else None
                for size in value.shape if isinstance(value, torch.Tensor) else ():
                    if isinstance(size, torch.SymInt):
                        for symbol in size.node.expr.free_symbols:
                            size.node.shape_env.var_to_range[symbol] = ValueRanges(1, largest)
            evaluated: PassResult = super().call(graph_module)
            return evaluated

    return AtBound()
