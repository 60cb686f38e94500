"""Graph to graph, in this order. A pass is a function ModelProto -> ModelProto; none keeps state."""

from collections.abc import Callable

import onnx

from .check import check
from .keep_batch import keep_batch
from .module_names import module_names
from .simplify import simplify
from .weights import put_back, set_aside

PASSES: tuple[Callable[[onnx.ModelProto], onnx.ModelProto], ...] = (
    simplify,  # folds constants and shape arithmetic, so that the later passes see the graph that ships
    keep_batch,  # after folding, which leaves sizes of its own naming
    module_names,  # after folding: what is left gets the name of the PyTorch module that it came from
    check,  # last: judges what ships
)


def run(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the graph after every pass; `proto` itself is used up."""
    large = set_aside(proto)
    for graph_pass in PASSES:
        proto = graph_pass(proto)
    return put_back(proto, large)
