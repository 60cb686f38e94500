"""Which nodes of an ONNX graph a recipe quantizes, by the PyTorch modules that they are."""

import difflib
from collections.abc import Sequence

import onnx

from slide_export.core.errors import RequestError
from slide_export.graph.values import scope_of

from .recipe import QuantizationRecipe, matches

HEAVY = frozenset({"Conv", "Gemm", "MatMul"})


def layers(proto: onnx.ModelProto) -> dict[str, tuple[str, str]]:
    """Module and kind (see `recipe.KINDS`) of every node that has weights, by the node's name.

    A product of two activations has no weights, so it is never among them. A product with a stack of matrices is none
    either: those are tables of positions (MViTv2, DAT), and no runtime has 8-bit weights with a scale on two axes.

        Given   /layers.0/blocks.0/attn/qkv/MatMul(x, qkv.weight), /layers.0/blocks.0/attn/MatMul(q, k)
        Result  {"/layers.0/blocks.0/attn/qkv/MatMul": ("layers.0.blocks.0.attn.qkv", "linear")}
    """
    weights = {tensor.name: len(tensor.dims) for tensor in proto.graph.initializer}
    return {
        node.name: (scope_of(node.name), _kind(node))
        for node in proto.graph.node
        if node.op_type in HEAVY and node.input[1] in weights and not _is_lookup(node, weights[node.input[1]])
    }


def computed(proto: onnx.ModelProto) -> dict[str, tuple[str, str]]:
    """Module and kind of every node, as `layers` has them: a module without weights computes, too."""
    return {node.name: (scope_of(node.name), _kind(node)) for node in proto.graph.node}


def _is_lookup(node: onnx.NodeProto, rank: int) -> bool:
    return node.op_type == "MatMul" and rank > 2


def in_modules(node: str, patterns: Sequence[str]) -> bool:
    """Whether a node is, by its name, in one of the modules that patterns name, see `recipe.matches`."""
    return any(matches(scope_of(node), pattern) for pattern in patterns)


def _kind(node: onnx.NodeProto) -> str:
    if node.op_type != "Conv":
        return "linear"
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    return "convolution" if groups == 1 else "depthwise"


def selected(found: dict[str, tuple[str, str]], recipe: QuantizationRecipe) -> list[str]:
    """Names of the nodes that the recipe quantizes, of those that `layers` found.

    Raises:
        RequestError: `keep_fp32` names a module that is not there, or nothing is left to quantize.
    """
    refuse_unknown(found, recipe.keep_fp32)
    names = [name for name, (module, kind) in found.items() if recipe.quantizes(module, kind)]
    if not names:
        raise RequestError("expected something to quantize, the recipe keeps every layer in float: use fp32 or fp16")
    return names


def refuse_unknown(found: dict[str, tuple[str, str]], patterns: Sequence[str]) -> None:
    """Refuse patterns that name none of the modules that `layers` or `computed` found.

    Raises:
        RequestError: names the first, and a module like it.
    """
    modules = sorted({module for module, _ in found.values()})
    for pattern in patterns:
        if not any(matches(module, pattern) for module in modules):
            close = difflib.get_close_matches(pattern, modules, n=1) or modules[:1]
            raise RequestError(f"expected modules of the model in keep_fp32, found {pattern!r}: one is {close[0]!r}")
