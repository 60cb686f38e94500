"""coremltools' model -> the same with 8-bit or palettized weights, layer by layer as a recipe says.

Weights are named one by one, never left to a global setting: that compresses every constant over 2048 values, window
attention's bias and mask too, and leaves weights below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slide_export.calibration.recipe import QuantizationRecipe

from .errors import MilError
from .passes import in_compression

WEIGHT = {"linear": "weight", "conv": "weight", "matmul": "y"}


def compress(model: Any, modules: Mapping[str, str], recipe: QuantizationRecipe) -> Any:
    """The coremltools model with compressed weights.

    Args:
        model: fresh from the converter, which alone knows operations by their objects.
        modules: name of the PyTorch module of each operation, by operation name.

    Raises:
        MilError: the recipe leaves nothing to compress.
    """
    import coremltools.optimize.coreml as optimize

    names = _weights(model, modules, recipe)
    if not names:
        raise MilError("the recipe keeps every layer in float: use fp32 or fp16")
    if recipe.weights == "palettized":
        # 0: small ones too, the recipe decides.
        how = optimize.OpPalettizerConfig(mode="kmeans", nbits=recipe.weight_bits, weight_threshold=0)
    else:
        scales = "per_channel" if recipe.per_channel else "per_tensor"
        how = optimize.OpLinearQuantizerConfig("linear_symmetric", granularity=scales, weight_threshold=0)
    config = optimize.OptimizationConfig(op_name_configs=dict.fromkeys(names, how))
    apply = optimize.palettize_weights if recipe.weights == "palettized" else optimize.linear_quantize_weights
    with in_compression():
        return apply(model, config)


def _weights(model: Any, modules: Mapping[str, str], recipe: QuantizationRecipe) -> list[str]:
    """Names of the constants to compress."""
    names = []
    for operation in model._mil_program.functions["main"].operations:
        weight = operation.inputs.get(WEIGHT.get(operation.op_type, ""))
        constant = weight.op if weight is not None else None
        if constant is None or constant.op_type != "const":
            continue  # a product of two activations
        if recipe.quantizes(modules[operation.name], _kind(operation)):
            names.append(constant.name)
    return names


def _kind(operation: Any) -> str:
    """An operation's kind in a recipe's words."""
    if operation.op_type != "conv":
        return "linear"
    return "convolution" if operation.groups.val == 1 else "depthwise"
