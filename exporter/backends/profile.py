"""From what a runtime executed to the lines of a profile: module names, kinds, medians.

A runtime fuses, splits and reorders operations. An executed operation keeps the name that the export gave it, or that
of an operation that it replaced, or none. One without a name was made for what comes next (a layout change before its
convolution, the first half of a LayerNorm), so it takes the module of the next one that has a name:

    Given    executed   Reorder (None), Conv ("patch_embed.proj"), Add (None)
    Result   lines      patch_embed.proj, patch_embed.proj, ""
"""

import itertools
import re
import statistics
from collections.abc import Sequence

from slide_export.core.measurement import Executed, ModuleTime
from slide_export.graph.values import scope_of

WARM = 2  # profiled calls that are thrown away: the first ones allocate
ATTENTION = re.compile(r"(.*\.)?attns?(\.(?:\d+\.)?(?P<part>.+))?")
LINEAR = ("q", "k", "v", "kv", "qkv", "proj")  # the linear layers of an attention module
LAYOUT = re.compile(  # ONNX Runtime's and OpenVINO's names, and an ML Program's, which have underscores
    r"cast|concat|expand|expand_dims|flatten|gather|identity|pad|reorder|reorder(in|out)put|reshape|slice|"
    r"slice_by_(index|size)|(variadic)?split|(un)?squeeze|stack|stridedslice|tile|transpose",
    re.IGNORECASE,
)
SOFTMAX = re.compile("(log)?softmax", re.IGNORECASE)


def lines(executed: Sequence[Executed]) -> tuple[ModuleTime, ...]:
    """One line for each executed operation, in the order of execution."""
    found: list[ModuleTime] = []
    module = ""
    for operation in reversed(executed):  # backwards, so that an unnamed operation takes the module that follows it
        module = module if operation.module is None else operation.module
        found.append(ModuleTime(module, operation.operator, kind(operation, module), statistics.median(operation.ms)))
    return tuple(reversed(found))


def kind(operation: Executed, module: str) -> str:
    """Kind of an operation in a module, one of `KINDS`.

    Only products of linear and patch layers are "gemm". An attention's own products with weights, such as a form of
    slide attention that computes its taps so, are the price of attention: as convolutions they count.
    """
    if operation.product == "activations":
        return "other"
    if operation.product is not None:
        inside = ATTENTION.fullmatch(module)
        of_attention_itself = inside is not None and inside["part"] not in LINEAR
        return "gemm" if operation.product == "dense" and not of_attention_itself else "convolution"
    if SOFTMAX.fullmatch(operation.operator):
        return "softmax"
    return "layout" if LAYOUT.fullmatch(operation.operator) else "other"


def module_of(node: str) -> str | None:
    """Module path of a node, None for a node that no tracer named: `/layers.0/attn/qkv/Gemm` -> `layers.0.attn.qkv`."""
    return scope_of(node) if node.startswith("/") else None


def shared_module(nodes: Sequence[str]) -> str | None:
    """Longest module path that the nodes named by the tracer share, None where it named none of them."""
    paths = [module.split(".") for node in nodes if (module := module_of(node)) is not None]
    if not paths:
        return None
    shared = itertools.takewhile(lambda names: len(set(names)) == 1, zip(*paths, strict=False))
    return ".".join(names[0] for names in shared)
