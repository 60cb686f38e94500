"""Graph to graph, in this order. A pass is a function ModelProto -> ModelProto; none keeps state."""

from collections.abc import Callable

import onnx

from .check import check
from .module_names import module_names
from .simplify import simplify

PASSES: tuple[Callable[[onnx.ModelProto], onnx.ModelProto], ...] = (
    simplify,  # folds constants and shape arithmetic, so that the later passes see the graph that ships
    module_names,  # after folding: what is left gets the name of the PyTorch module that it came from
    check,  # last: judges what ships
)


def run(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the graph after every pass."""
    for graph_pass in PASSES:
        proto = graph_pass(proto)
    return proto
