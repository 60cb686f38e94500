"""Graph to graph, in this order. A pass is a function ModelProto -> ModelProto; none keeps state."""

from collections.abc import Callable, Sequence

import onnx

from .check import check
from .keep_batch import keep_batch
from .module_names import module_names
from .simplify import simplify
from .weights import put_back, set_aside

Pass = Callable[[onnx.ModelProto], onnx.ModelProto]

PASSES: tuple[Pass, ...] = (
    simplify,  # folds constants and shape arithmetic, so that the later passes see the graph that ships
    keep_batch,  # after folding, which leaves sizes of its own naming
    module_names,  # after folding: what is left gets the name of the PyTorch module that it came from
    check,  # last: judges what ships
)
MEASURED_ONLY = tuple(graph_pass for graph_pass in PASSES if graph_pass is not check)
"""For what does not ship: `F.unfold` becomes gathers and tensors of rank 6."""


def run(proto: onnx.ModelProto, passes: Sequence[Pass] = PASSES) -> onnx.ModelProto:
    """Returns the graph after the passes; `proto` itself is used up."""
    large = set_aside(proto)
    for graph_pass in passes:
        proto = graph_pass(proto)
    return put_back(proto, large)
