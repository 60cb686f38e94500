"""A model's operators in those that XNNPACK has: its graph before it is lowered, rewritten in place.

ExecuTorch lowers what it finds: `matmul` of rank 4 to `expand_copy` and `bmm`, `split` to an operator that XNNPACK has
not. Each such operator ends one part of the program that XNNPACK runs and begins another, so that a Slide-Swin-T in the
form `shifts` had 78 operators outside of it, and 38 after these cases (30 in `pointwise_taps`):

1. matmul [a, b, N, K] @ [a, b, K, M], of equal leading axes: `bmm` between two views, one of each operand.
2. split, chunk: of a linear layer's output, a linear layer for each part; else a slice for each part, which XNNPACK
   takes where the batch is fixed.
3. In half: LayerNorm in float32 between two casts. The runtime's kernel is wrong from 256 channels on (ExecuTorch
   1.5.1, x86: errors of 1.5 to 8 times the values), without a word.
4. GELU by tanh is refused: XNNPACK's part of the program computes the exact one in its place, without a word
   (ExecuTorch 1.5.1, backends/xnnpack/operators/op_gelu.py `GeluVisitor` reads no `approximate`).
"""

from __future__ import annotations

import operator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch

from slide_export.core.errors import LoweringError

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

aten = torch.ops.aten
WRAPPED = "wrapper.module."
"""In front of the model's own names, see `inference.foreign_module`."""


def rewrite(module: GraphModule) -> None:
    """Rewrite every case of the module's docstring; the function stays the same.

    Raises:
        LoweringError: case 4.
    """
    for node in list(module.graph.nodes):
        change = REWRITES.get(node.target) if node.op == "call_function" else None
        if change is not None:
            with module.graph.inserting_before(node):
                change(module, node)
    module.graph.eliminate_dead_code()
    _drop_unused(module)
    module.graph.lint()
    module.recompile()


def _drop_unused(module: GraphModule) -> None:
    """Drop tensors that no node takes any more: a program would store them."""
    used = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    held = (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False))
    for name, _ in held:
        if name not in used:
            owner, _, leaf = name.rpartition(".")
            delattr(module.get_submodule(owner), leaf)


def _call(module: GraphModule, source: Node, target: Any, *args: Any) -> Node:
    """A new call that belongs to the PyTorch module of the operator in whose place it stands."""
    made = module.graph.call_function(target, args)
    made.meta = {key: source.meta[key] for key in ("nn_module_stack", "stack_trace") if key in source.meta}
    return made


def _matmul(module: GraphModule, node: Node) -> None:
    """Case 1.

    Given    q [B, nH, N, d] @ k [B, nH, d, M]
    Result   q [B * nH, N, d], k [B * nH, d, M] -> bmm [B * nH, N, M] -> [B, nH, N, M]
    """
    left, right = (_shape(arg) for arg in node.args[:2])
    leads = left[:-2], right[:-2]
    fixed = all(isinstance(size, int) for size in (*left[1:], *right[1:]))
    if len(left) < 3 or len(left) != len(right) or not fixed or str(leads[0]) != str(leads[1]):
        return
    flat = [_flat(module, node, arg) for arg in node.args[:2]]
    made = _call(module, node, aten.bmm.default, *flat)
    _replace(node, _call(module, node, aten.reshape.default, made, [-1, *left[1:-1], right[-1]]))


def _flat(module: GraphModule, node: Node, operand: Any) -> Node:
    """An operand [..., N, K] as [-1, N, K]: the view that stands before the product already, or a new one."""
    shape = [-1, *_shape(operand)[-2:]]
    views = (user for user in operand.users if user.target is aten.reshape.default and user.args[1] == shape)
    known = next((view for view in views if view < node), None)
    return known or _call(module, node, aten.reshape.default, operand, shape)


def _split(module: GraphModule, node: Node) -> None:
    """Case 2.

    Given    split(linear(x, w), 32, dim=-1) -> getitem 0, getitem 1     split(x, 32, dim=1) -> ...
    Result   linear(x, w[:32]), linear(x, w[32:])                        slice(x, 1, 0, 32), slice(x, 1, 32, 64)
    """
    args: tuple[Any, ...] = node.args
    dim: Any = args[2] if len(args) > 2 else node.kwargs.get("dim", 0)
    sizes = [part.shape[dim] for part in node.meta["val"]]
    users = list(node.users)
    if not all(isinstance(size, int) for size in sizes) or any(user.target is not operator.getitem for user in users):
        return
    source, starts = args[0], [0, *accumulate(sizes)]
    last = dim % len(_shape(source)) == len(_shape(source)) - 1
    parted = last and source.target is aten.linear.default and len(source.users) == 1
    for user in users:
        index: Any = user.args[1]
        start, end = starts[index], starts[index + 1]
        with module.graph.inserting_before(user):
            if parted:
                rows = [_rows(module, arg, start, end) for arg in source.args[1:] if arg is not None]
                part = _call(module, source, aten.linear.default, source.args[0], *rows)
            else:
                part = _call(module, user, aten.slice.Tensor, source, dim, start, end)
        _replace(user, part)


def _rows(module: GraphModule, stored: Node, start: int, end: int) -> Node:
    """Rows of a stored weight or bias, as a parameter of their own."""
    name = f"{stored.target}_{start}_{end}".replace(".", "_")
    if not hasattr(module, name):
        rows = _attribute(module, str(stored.target))[start:end].clone()
        module.register_parameter(name, torch.nn.Parameter(rows, requires_grad=False))
    return module.graph.get_attr(name)


def _layer_norm(module: GraphModule, node: Node) -> None:
    """Case 3."""
    if node.meta["val"].dtype != torch.float16:
        return
    args: tuple[Any, ...] = node.args
    value, shape, *rest = args
    scales = [_in_float32(module, arg) if hasattr(arg, "op") else arg for arg in rest]  # weight, bias, then numbers
    whole = _call(module, node, aten.to.dtype, value, torch.float32)
    made = _call(module, node, aten.layer_norm.default, whole, shape, *scales)
    _replace(node, _call(module, node, aten.to.dtype, made, torch.float16))


def _refuse_tanh(_module: GraphModule, node: Node) -> None:
    """Case 4."""
    if node.kwargs.get("approximate", "none") != "none":
        where = module_of(node) or "the model"
        raise LoweringError(
            f"expected the exact GELU, found its approximation by tanh in {where}: XNNPACK has the exact one alone "
            "and takes it without a word; export a model that was trained with the exact one"
        )


def module_of(node: Node) -> str:
    """Name of the innermost PyTorch module that a node was traced in, as the model knows it."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path = "" if not stack else str(stack[-1][0])
    return path.removeprefix(WRAPPED) if path.startswith(WRAPPED) else ""


def _in_float32(module: GraphModule, stored: Node) -> Node:
    """A stored tensor of float16 in float32."""
    name = f"{stored.target}_in_float32".replace(".", "_")
    if not hasattr(module, name):
        module.register_buffer(name, _attribute(module, str(stored.target)).float())
    return module.graph.get_attr(name)


def _replace(node: Node, made: Node) -> None:
    """Put a new node in the place of an old one, of the same shape and type, which later cases ask for."""
    made.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(made)


def _attribute(module: GraphModule, path: str) -> Any:
    found: Any = module
    for part in path.split("."):
        found = getattr(found, part)
    return found.detach()


def _shape(arg: Any) -> tuple[Any, ...]:
    return tuple(arg.meta["val"].shape)


REWRITES = {
    aten.matmul.default: _matmul,
    aten.split.Tensor: _split,
    aten.split_with_sizes.default: _split,
    aten.chunk.default: _split,
    aten.layer_norm.default: _layer_norm,
    aten.gelu.default: _refuse_tanh,
}
