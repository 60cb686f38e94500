"""int8 and int8-dynamic: layers that a recipe names, by torchao's quantizer of a program for XNNPACK."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import torch

from slide_export.calibration.recipe import QuantizationRecipe
from slide_export.core.errors import LoweringError
from slide_export.core.text import foreign

from .rewrite import module_of
from .vendor import quiet

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule, Node

FORMS = "inference.forms"
RELUS = frozenset({torch.ops.aten.relu.default, torch.ops.aten.relu_.default})


def quantized(module: GraphModule, recipe: QuantizationRecipe, images: Iterable[tuple[Tensor, ...]]) -> GraphModule:
    """The module with the layers of a recipe quantized: weights by channel, activations to an affine range.

    Args:
        images: what ranges are observed on; weights are observed in a call too, so a dynamic recipe needs one of any.

    Raises:
        LoweringError: torchao cannot quantize the model.
    """
    with quiet():
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    config = get_symmetric_quantization_config(is_per_channel=recipe.per_channel, is_dynamic=recipe.dynamic)
    # Everything but the recipe's layers stays in float: its products of activations and what is around softmax above
    # all. The library would quantize every sum and product as well.
    quantizer = XNNPACKQuantizer().set_global(config).set_filter_function(lambda node: _named(node, recipe))
    _part_shared(module)
    try:
        with torch.no_grad(), quiet():
            prepared = prepare_pt2e(module, quantizer)
            for image in images:
                prepared(*image)
            return cast("GraphModule", convert_pt2e(prepared))
    except Exception as error:  # torchao asserts, and raises what torch does
        raise LoweringError(
            f"expected a model that torchao can quantize, found {type(error).__name__}: {foreign(str(error), 300)}"
        ) from error


def _part_shared(module: GraphModule) -> None:
    """Give each call of a layer weights and bias of its own: inputs of other ranges make other integers of a bias.

    ExecuTorch 1.5.1 stores a bias once, in the scale of one of the calls.

        Given    linear(x, w, b), linear(y, w, b)
        Result   linear(x, w, b), linear(y, w_1, b_1)
    """
    seen: set[str] = set()
    for node in list(module.graph.nodes):
        if _kind(node) is None:
            continue
        for place, held in enumerate(node.args[1:3], 1):
            if held is None or held.op != "get_attr":  # no bias, or one that is computed
                continue
            if held.target in seen:
                name = f"{held.target}_{len(seen)}".replace(".", "_")
                owner, _, leaf = held.target.rpartition(".")
                values = getattr(module.get_submodule(owner), leaf).detach().clone()
                module.register_buffer(name, values)
                with module.graph.inserting_before(node):
                    copied = module.graph.get_attr(name)
                copied.meta = dict(held.meta)
                node.update_arg(place, copied)
                seen.add(name)
            seen.add(held.target)
    module.recompile()


def _named(node: Node, recipe: QuantizationRecipe) -> bool:
    """Whether a node is a layer that the recipe quantizes, or goes with one.

    The library asks of every node that it would take together: of a convolution its filter, its bias and the ReLU
    behind it as well.
    """
    if node.op == "get_attr":
        return True
    if node.target in RELUS:
        (source,) = node.all_input_nodes
        return _named(source, recipe)
    kind = _kind(node)
    return kind is not None and recipe.quantizes(module_of(node), kind)


def _kind(node: Node) -> str | None:
    """Kind of a layer in a recipe's words; None of any other node."""
    if node.target is torch.ops.aten.linear.default:
        return "linear"
    if node.target is torch.ops.aten.conv2d.default and not _of_form(node):
        groups: Any = node.args[6] if len(node.args) > 6 else node.kwargs.get("groups", 1)
        return "convolution" if groups == 1 else "depthwise"
    return None


def _of_form(node: Node) -> bool:
    """Whether a convolution is a form's of slide attention: of one in int8 ExecuTorch 1.5.1 loads no program (error 1).

    Such a projection computes in float, as its sums do.
    """
    return any(f".{FORMS}." in str(kind) for _, kind in node.meta.get("nn_module_stack", {}).values())
