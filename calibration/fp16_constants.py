"""Large tables of a quantized graph in half: position biases, added to attention's logits and never multiplied.

At 224 the six biases of Slide-Swin-T's third stage (12 heads, 196 x 196 positions) are 10.6 MiB of float32 beside
26.9 MiB of 8-bit weights. As float16 each is off by 2^-11 of itself at most, far below what quantization costs, and the
cast behind it is folded when a runtime loads the graph.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .fp16 import LARGEST
from .layer_selection import in_modules

LEAST = 2**14  # elements: 64 KiB of float32
ADDING = frozenset({"Add", "Sub"})


def halve_tables(proto: onnx.ModelProto, keep: Sequence[str]) -> onnx.ModelProto:
    """Returns the graph with every large constant that is only added stored as float16; `proto` is used up.

    Args:
        keep: modules that stay in float, see `recipe.matches`.
    """
    graph = proto.graph
    added = _added(graph, keep)
    casts = []
    for tensor in graph.initializer:
        if tensor.name in added and tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= LEAST:
            values = numpy_helper.to_array(tensor)
            if np.abs(values).max() <= LARGEST:
                full, half = tensor.name, f"{tensor.name}_half"
                tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), half))
                casts.append(helper.make_node("Cast", [half], [full], name=f"{full}/Cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return proto


def _added(graph: onnx.GraphProto, keep: Sequence[str]) -> set[str]:
    """Returns the values that nodes outside the kept modules add, and no other node reads."""
    added = set(_read(node for node in graph.node if node.op_type in ADDING and not in_modules(node, keep)))
    return added - set(_read(node for node in graph.node if node.op_type not in ADDING or in_modules(node, keep)))


def _read(nodes: Iterator[onnx.NodeProto]) -> Iterator[str]:
    return (name for node in nodes for name in node.input)
