"""Which values between a program's parts are outputs of which PyTorch modules, found while it is lowered.

XNNPACK shows no value inside its parts, but what goes from part to part can be read. A program has no names of modules,
so a manifest says them. Whose output a value is has to be known before parts are cut: of what is left afterwards a sum
in the middle of a block looks like the block's. So:

    mark     the exported graph: each node that is a module's output gets its name beside its module stack
    parts    are cut; nodes keep their stacks
    shown    the values between parts that such a node computes
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch

from slide_export.core.graph import ROUND, Value
from slide_export.core.module_outputs import modules_by_value

from .rewrite import WRAPPED, module_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch.export import ExportedProgram
    from torch.fx import GraphModule, Node

KEY, JOINED = "output_of", ";"
"""The entry of a node's module stack that `mark` adds, and what is between its names."""
RESHAPES = frozenset({torch.ops.aten.reshape.default, torch.ops.aten.view.default})
VIEW = "view"
SILENT = frozenset({"alloc", "getitem"})
"""Nodes of a lowered graph that are no instructions; a view is one where its shape is dynamic."""
SIZES = (int, torch.SymInt)
DELEGATE = "executorch_call_delegate"


def mark(module: GraphModule) -> None:
    """Note at each node whose outputs it is; the stack is what every later pass hands on.

    An order is also noted at what it is a view of: of two views, one behind the other, a pass leaves the last.
    """
    nodes = [node for node in module.graph.nodes if node.op == "call_function"]
    values = [Value(node.name, module_of(node), tuple(one.name for one in node.all_input_nodes)) for node in nodes]
    outputs = modules_by_value(values)
    for node in nodes:
        names = outputs.get(node.name, ())
        _note(node, names)
        if orders := tuple(name for name in names if ROUND.fullmatch(name)):
            source: Any = node
            while source.target in RESHAPES:
                source = source.args[0]
            source = source.args[0] if source.target is operator.getitem else source  # which hands on its note to each
            if source.name not in outputs:
                _note(source, orders)


def _note(node: Node, names: Sequence[str]) -> None:
    stack = dict(node.meta.get("nn_module_stack", {}))
    if stack and names:
        told = JOINED.join(f"{WRAPPED}{name}" for name in names)
        node.meta["nn_module_stack"] = {**stack, KEY: (told, "")}


def shown(program: ExportedProgram, count: int) -> dict[str, tuple[str, ...]]:
    """Modules by the value that is their output, "INSTRUCTION.PLACE": which argument of a part, or result.

    Args:
        program: as it is written.
        count: instructions in the file; where the graph has another number, nothing tells which is which.
    """
    nodes = [node for node in program.graph.nodes if node.op == "call_function" and _name(node) not in SILENT]
    without_views = [node for node in nodes if _name(node) != VIEW]
    instructions = next((some for some in (nodes, without_views) if len(some) == count), [])
    found: dict[str, tuple[str, ...]] = {}
    for index, node in enumerate(instructions):
        # A view is among the nodes of what it views. A size of a batch is no tensor.
        if _name(node) == VIEW or isinstance(node.meta.get("val"), SIZES):
            continue
        for place, sources in _given(node, program).items():
            if names := tuple(dict.fromkeys(name for source in sources for name in _marked(source))):
                found[f"{index}.{place}"] = names
    return found


def _name(node: Node) -> str:
    return "getitem" if node.target is operator.getitem else str(getattr(node.target, "__name__", node.target))


def _given(node: Node, program: ExportedProgram) -> dict[int, list[Node]]:
    """By the place of each value that an instruction gives, the nodes that are this value; a view shares its memory.

    Given    topk(keys) -> (values, indices); indices -> view        a part of two inputs -> (x, y); y -> view
    Result   0: topk, values; 1: indices, view                       2: x inside, x; 3: y inside, y, view
    """
    arguments: Any = node.args
    several = any(user.target is operator.getitem for user in node.users)
    first, found = 0, {} if several else {0: _views(node)}
    if _name(node) == DELEGATE:
        part: Any = getattr(program.graph_module, str(arguments[0].target))
        (given,) = (one for one in part.original_module.graph.nodes if one.op == "output")
        first = len(arguments) - 1  # behind what it takes
        found = {first + place: [source] for place, source in enumerate(given.args[0])}
    for user in node.users:
        if user.target is operator.getitem:
            place: Any = user.args[1]
            found.setdefault(first + place, []).extend(_views(user))
    return found


def _views(node: Node) -> list[Node]:
    """A node and the views of its result."""
    return [node, *(view for user in node.users if _name(user) == VIEW for view in _views(user))]


def _marked(node: Node) -> tuple[str, ...]:
    stack: Mapping[str, tuple[str, Any]] = node.meta.get("nn_module_stack", {})
    told = next((path for key, (path, _) in stack.items() if key.endswith(KEY)), "")  # tracing again puts more in front
    return tuple(name.removeprefix(WRAPPED) for name in told.split(JOINED) if name)
