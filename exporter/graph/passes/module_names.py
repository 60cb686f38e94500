"""Names every node after the PyTorch module that it computes, `/layers.0/blocks.1/attn/qkv/Gemm`.

The tracer names values by module path; folding leaves some nodes with names of its own. Those take the module of the
node that uses them. A diagnosis or a profile then speaks of modules, not of graph nodes.
"""

import re
from collections import Counter

import onnx

from slide_export.graph.values import path_of


def module_names(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the graph with every node named by its module's path."""
    weights = {item.name for item in (*proto.graph.initializer, *proto.graph.input)}
    scopes: dict[str, str] = {}  # value -> module path of the node that uses it
    used: list[tuple[onnx.NodeProto, str]] = []
    for node in reversed(proto.graph.node):
        scope = next((path_of(name) for name in node.output if name.startswith("/")), None)
        if scope is None:  # the value was named by folding, or is an output: a weight's name tells
            scope = next((_path(name) for name in node.input if name in weights and "." in name), None)
        if scope is None:  # no weight either: it belongs to its user
            scope = next((scopes[name] for name in node.output if name in scopes), "")
        scopes.update((name, scope) for name in node.input)
        used.append((node, scope))
    seen: Counter[str] = Counter()
    for node, scope in reversed(used):
        name = f"{scope}/{node.op_type}"
        node.name = f"{name}_{seen[name]}" if seen[name] else name
        seen[name] += 1
    return proto


def _path(weight: str) -> str:
    """Returns `/layers.1/blocks.0/attn/qkv`, as the tracer writes it, for `layers.1.blocks.0.attn.qkv.weight`."""
    return "/" + re.sub(r"\.(?=\D)", "/", weight.rpartition(".")[0])
