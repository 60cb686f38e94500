"""Names of PyTorch modules on the nodes. A diagnosis or a profile then speaks of modules, not of graph nodes."""

import re
from collections import Counter
from collections.abc import Iterable

import onnx_ir as ir

from slide_export.graph.values import path_of

LATER_CALL = re.compile(r"_\d+$")
"""How the tracer numbers a module's later calls. No family has a module `a_1` beside one `a`."""


class ModuleNames(ir.passes.InPlacePass):
    """Name every node after the PyTorch module that it computes, `/layers.0/blocks.1/attn/qkv/Gemm`.

    1. A result that the tracer named, by module path: that path.
    2. A result that folding named, or an output of the graph: the path of a weight that the node takes.
    3. Neither: the path of the node that uses it, of the first one where there are several.
    4. Not even that: no path, `/Neg`.

    Nodes of one operator in one module are numbered from the second on. The tracer numbers a module's later calls; here
    they are the same module.

        Given    Relu_0: x -> _v_1    Relu_1: _v_1 -> /block/act/Relu_output_0    anything: Neg -> y
        Result   /block/act/Relu      /block/act/Relu_1                           /Neg
        Given    Conv: x -> /head/conv/Conv_output_0    Conv: y -> /head/conv_1/Conv_output_0
        Result   /head/conv/Conv                        /head/conv/Conv_1
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Name the nodes, from the last one on: a user's path is known before it is asked for."""
        scopes: dict[ir.Value, str] = {}  # of the node that uses a value
        paths: list[str] = []
        for node in reversed(model.graph):
            path = _path(node, scopes)
            scopes.update((value, path) for value in node.inputs if value is not None)
            paths.append(path)
        modules = _first_calls(paths)
        seen: Counter[str] = Counter()
        modified = False
        for node, path in zip(model.graph, reversed(paths), strict=True):
            base = f"{modules[path]}/{node.op_type}"
            name = f"{base}_{seen[base]}" if seen[base] else base
            seen[base] += 1
            modified |= node.name != name
            node.name = name
        return ir.passes.PassResult(model, modified)


def _path(node: ir.Node, scopes: dict[ir.Value, str]) -> str:
    named = (path_of(value.name) for value in node.outputs if value.name and value.name.startswith("/"))
    weights = (_path_of_weight(value.name) for value in node.inputs if value is not None and _is_weight(value))
    used = (scopes[value] for value in node.outputs if value in scopes)
    for found in (named, weights, used):  # Cases 1, 2 and 3
        if (path := next((path for path in found), None)) is not None:
            return path
    return ""  # Case 4


def _first_calls(paths: Iterable[str]) -> dict[str, str]:
    """Each path as the first call of its modules has it: `/head/conv` for `/head/conv_1` where both are there."""
    found: dict[str, str] = {}
    parts = {path: path.split("/") for path in paths}
    known = {"/".join(names[:end]) for names in parts.values() for end in range(len(names) + 1)}
    for path, names in parts.items():
        first = ""
        for name in names[1:]:
            whole, unnumbered = f"{first}/{name}", f"{first}/{LATER_CALL.sub('', name)}"
            first = unnumbered if unnumbered in known else whole
        found[path] = first
    return found


def _is_weight(value: ir.Value) -> bool:
    """Whether a value is a module's parameter; a large one is an input of the graph while the passes run."""
    return (value.is_initializer() or value.is_graph_input()) and "." in (value.name or "")


def _path_of_weight(name: str | None) -> str:
    """`/layers.1/blocks.0/attn/qkv`, as the tracer writes it, for `layers.1.blocks.0.attn.qkv.weight`."""
    return "/" + re.sub(r"\.(?=\D)", "/", (name or "").rpartition(".")[0])
