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


def quantized(module: GraphModule, recipe: QuantizationRecipe, images: Iterable[tuple[Tensor, ...]]) -> GraphModule:
    """The module with the layers of a recipe quantized: weights by channel, activations to an affine range.

    Args:
        images: what ranges are observed on; a dynamic recipe looks at none of them.

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
    try:
        with torch.no_grad(), quiet():
            prepared = prepare_pt2e(module, quantizer)
            for image in () if recipe.dynamic else images:
                prepared(*image)
            return cast("GraphModule", convert_pt2e(prepared))
    except Exception as error:  # torchao asserts, and raises what torch does
        raise LoweringError(
            f"expected a model that torchao can quantize, found {type(error).__name__}: {foreign(str(error), 300)}"
        ) from error


def _named(node: Node, recipe: QuantizationRecipe) -> bool:
    """Whether a node is a layer that the recipe quantizes."""
    kind = _kind(node)
    return kind is not None and recipe.quantizes(module_of(node), kind)


def _kind(node: Node) -> str | None:
    """Kind of a layer in a recipe's words; None of any other node."""
    if node.target is torch.ops.aten.linear.default:
        return "linear"
    if node.target is torch.ops.aten.conv2d.default:
        groups: Any = node.args[6] if len(node.args) > 6 else node.kwargs.get("groups", 1)
        return "convolution" if groups == 1 else "depthwise"
    return None
