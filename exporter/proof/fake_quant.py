"""What quantization costs the trained model: the PyTorch module with weights and activations rounded as a recipe says.

An independent second implementation: no code of the quantizing libraries, and ranges from the images of the proof
instead of the calibration's. So it is the noise floor of a quantized artifact, as `rounded.py` is that of a float one:
an artifact that is much worse than this was not quantized as its recipe says, or its runtime computes something else.

    w -> s_o round(w / s_o)      s_o = max |w_o| / 127 for each output channel o (63 with a reduced range)
    x -> s round(x / s - z) + z  for a layer's input; 255 steps over [min, max], or +-127 over +-max |x|

The range of an input is that of all images or, where activations are dynamic, its own.

Source: ONNX QuantizeLinear and DequantizeLinear; Jacob et al., CVPR 2018, equation 1.
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from slide_export.calibration.recipe import QuantizationRecipe
from slide_export.inference.export_wrapper import layers_of


def simulated(serving: nn.Module, recipe: QuantizationRecipe, images: Iterable[tuple[Tensor, ...]]) -> nn.Module:
    """Copy a served model and round its weights and activations as the recipe quantizes them.

    Args:
        images: what the ranges of the activations are taken from, as the module is fed them.
    """
    copied = copy.deepcopy(serving)
    layers = [layer for name, layer in _layers(copied) if recipe.quantizes(name, kind_of(layer))]
    with torch.inference_mode():
        for layer in layers:
            layer.weight.data = _rounded_weight(layer.weight, recipe)
        if recipe.calibrated:
            ranges = _observe(copied, layers, images)  # with rounded weights already: the ranges that the artifact sees
            for layer, (low, high) in zip(layers, ranges, strict=True):
                layer.register_forward_pre_hook(_rounding(low, high, symmetric=recipe.activations == "symmetric"))
        elif recipe.dynamic:
            for layer in layers:
                layer.register_forward_pre_hook(_round_to_own_range)
    return copied


def _layers(serving: nn.Module) -> list[tuple[str, Any]]:
    """Every linear and convolution layer with its name in the model."""
    return [(name, layer) for name, layer in layers_of(serving) if isinstance(layer, nn.Linear | nn.Conv2d)]


def kind_of(layer: nn.Module) -> str:
    """Kind of a layer in a recipe's words: linear, convolution or depthwise."""
    if isinstance(layer, nn.Linear):
        return "linear"
    return "convolution" if isinstance(layer, nn.Conv2d) and layer.groups == 1 else "depthwise"


def _rounded_weight(weight: Tensor, recipe: QuantizationRecipe) -> Tensor:
    # 127 for int8, 63 with a reduced range; -128 is not used.
    levels = 2 ** (recipe.weight_bits - 1 - recipe.reduced) - 1
    rows = weight.detach().flatten(1)  # [outputs, rest]
    largest = rows.abs().amax(dim=1, keepdim=True) if recipe.per_channel else rows.abs().max().reshape(1, 1)
    scale = largest.clamp_min(torch.finfo(weight.dtype).tiny) / levels  # a channel of zeros keeps them: 0 / tiny is 0
    rounded: Tensor = (rows / scale).round() * scale  # half to even, as ONNX QuantizeLinear rounds
    return rounded.reshape(weight.shape)


def _observe(module: nn.Module, layers: list[Any], images: Iterable[tuple[Tensor, ...]]) -> list[tuple[float, float]]:
    """Smallest and largest input of each layer over all images; zero is always within."""
    lows, highs = [0.0] * len(layers), [0.0] * len(layers)  # zero is within: the zeros of padding must be exact

    def watch(index: int) -> Any:
        """Hook that widens the range of the layer at `index`."""

        def hook(_: nn.Module, fed: tuple[Tensor, ...]) -> None:
            """Widen by one input."""
            lows[index] = min(lows[index], float(fed[0].min()))
            highs[index] = max(highs[index], float(fed[0].max()))

        return hook

    handles = [layer.register_forward_pre_hook(watch(index)) for index, layer in enumerate(layers)]
    for image in images:
        module(*image)
    for handle in handles:
        handle.remove()
    return list(zip(lows, highs, strict=True))


def _rounding(low: float, high: float, *, symmetric: bool) -> Any:
    """Hook that rounds a layer's input to 8 bits.

    symmetric     scale = max(-low, high) / 127    zero = 0                      levels -128..127
    asymmetric    scale = (high - low) / 255       zero = round(-low / scale)    levels 0..255
    """
    if symmetric:
        scale, zero, bottom, top = max(-low, high) / 127, 0, -128, 127
    else:
        scale, bottom, top = (high - low) / 255, 0, 255
        zero = round(-low / scale) if scale else 0  # a level of its own for 0.0

    def hook(_: nn.Module, fed: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Quantize and dequantize the first input; a range of zero width passes unchanged."""
        if not scale:
            return fed
        return (((fed[0] / scale).round() + zero).clamp(bottom, top).sub(zero) * scale, *fed[1:])

    return hook


def _round_to_own_range(layer: nn.Module, fed: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Round a layer's input to 255 steps over its own range, zero always within.

    One range for the whole tensor is the coarsest that runtimes take; some have one a row.
    """
    low, high = min(0.0, float(fed[0].min())), max(0.0, float(fed[0].max()))
    rounded: tuple[Tensor, ...] = _rounding(low, high, symmetric=False)(layer, fed)
    return rounded
