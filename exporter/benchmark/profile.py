"""From what a runtime executed to lines of a profile: module names, kinds, medians.

Runtimes fuse, split and reorder; what they execute keeps a name of ours, or of something that it replaced, or none.
What has none was made for what comes next (a layout change before its convolution, the first half of a LayerNorm) and
takes the module of the next one that has.
"""

import itertools
import re
import statistics
from collections.abc import Sequence

from slide_export.core.measurement import KINDS, Executed, ModuleTime
from slide_export.graph.values import scope_of

WARM = 2  # profiled calls that are thrown away: the first ones allocate
ATTENTION = re.compile(r"(.*\.)?attns?(\.(?:\d+\.)?(?P<part>.+))?")
INSIDE = re.compile(r"\.attns?(\.|$)")
FIRST = re.compile(r"[^.]+(\.\d+(\.[^.]+)?)?")
LINEAR = ("q", "k", "v", "kv", "qkv", "proj")  # what an attention module has of linear layers
LAYOUT = re.compile(  # ONNX Runtime's and OpenVINO's names, and an ML Program's, which have underscores
    r"cast|concat|expand|expand_dims|flatten|gather|identity|pad|reorder|reorder(in|out)put|reshape|slice|"
    r"slice_by_(index|size)|(variadic)?split|(un)?squeeze|stack|stridedslice|tile|transpose",
    re.IGNORECASE,
)
SOFTMAX = re.compile("(log)?softmax", re.IGNORECASE)


def lines(executed: Sequence[Executed]) -> tuple[ModuleTime, ...]:
    """Returns a line for each thing that was executed, in the order of execution."""
    found: list[ModuleTime] = []
    after = ""
    for one in reversed(executed):
        after = after if one.module is None else one.module
        found.append(ModuleTime(after, one.operator, kind(one, after), statistics.median(one.ms)))
    return tuple(reversed(found))


def kind(one: Executed, module: str) -> str:
    """Returns the kind of an operation in a module.

    Only products of linear and patch layers are "gemm". An attention's own products with weights, such as a form of
    slide attention that computes its taps so, are the price of attention: as convolutions they count.
    """
    if one.product == "activations":
        return "other"
    if one.product is not None:
        inside = ATTENTION.fullmatch(module)
        own = inside is not None and inside["part"] not in LINEAR
        return "gemm" if one.product == "dense" and not own else "convolution"
    if SOFTMAX.fullmatch(one.operator):
        return "softmax"
    return "layout" if LAYOUT.fullmatch(one.operator) else "other"


def module_of(node: str) -> str | None:
    """Returns `layers.0.attn.qkv` for the node `/layers.0/attn/qkv/Gemm`, None for a node that no tracer named."""
    return scope_of(node) if node.startswith("/") else None


def shared_module(nodes: Sequence[str]) -> str | None:
    """Returns the longest module path that the nodes named by the tracer share, None where it named none of them."""
    paths = [module.split(".") for node in nodes if (module := module_of(node)) is not None]
    if not paths:
        return None
    shared = itertools.takewhile(lambda names: len(set(names)) == 1, zip(*paths, strict=False))
    return ".".join(names[0] for names in shared)


def by_block(profile: Sequence[ModuleTime]) -> dict[str, dict[str, float]]:
    """Returns the milliseconds of each kind in each block, in the order of execution.

    A block is what has an attention, `layers.0.blocks.1`; what lies in none goes by its own first names,
    `layers.0.downsample` or `patch_embed`.
    """
    blocks = {line.module[: match.start()] for line in profile if (match := INSIDE.search(line.module))}
    total: dict[str, dict[str, float]] = {}
    for line in profile:
        first = FIRST.match(line.module)
        place = next(
            (block for block in blocks if f"{line.module}.".startswith(f"{block}.")), first[0] if first else ""
        )
        of_kind = total.setdefault(place, {})
        of_kind[line.kind] = of_kind.get(line.kind, 0.0) + line.ms
    return total


def by_kind(profile: Sequence[ModuleTime]) -> dict[str, float]:
    """Returns the milliseconds of each kind."""
    return {kind: sum(line.ms for line in profile if line.kind == kind) for kind in KINDS}
