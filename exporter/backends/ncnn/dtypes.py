"""What a network stores and computes in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slide_export.core.artifact import FLOAT32_VECTORS, DtypeStats

from . import network, weights
from .runtime import EXACT

if TYPE_CHECKING:
    from slide_export.core.measurement import Product

    from .network import Layer

DENSE = frozenset({"InnerProduct", "Gemm"})
SPATIAL = frozenset({"Convolution", "ConvolutionDepthWise", "Deconvolution", "DeconvolutionDepthWise"})
ACTIVATIONS = frozenset({"MatMul", "SDPA"})
HEAVY = DENSE | SPATIAL | ACTIVATIONS


def dtype_stats(path: Path, settings: Mapping[str, Any]) -> DtypeStats:
    """Types of the weights, and the type that the settings have products computed in, whatever the machine.

    With one of `EXACT` left on, ncnn rounds what goes from layer to layer to 16 bits where it has a kernel for it.

    Raises:
        BundleError: the network cannot be read.
    """
    layers = network.read(path)
    tensors = list(weights.read(layers, weights.load(path)))
    half = any(tensor.stored == "float16" for tensor in tensors)
    stored: Counter[str] = Counter()
    for tensor in tensors:
        apart = half and weights.in_float32_alone(layers[tensor.layer], tensor.part)
        stored[FLOAT32_VECTORS if apart else tensor.stored] += tensor.values.nbytes
    heavy = sum(layer.type in HEAVY for layer in layers)
    return DtypeStats(dict(stored), {computed_in(settings): heavy})


def computed_in(settings: Mapping[str, Any]) -> str:
    """Type of what goes from layer to layer; an option that is not set is on, but those of bfloat16."""
    options = settings["options"]
    if any(options.get(name, "fp16" in name) for name in EXACT if "fp16" in name):
        return "float16"
    return "bfloat16" if any(options.get(name, False) for name in EXACT) else "float32"


def product_of(layer: Layer) -> Product | None:
    """Kind of product that a layer is, None for no product."""
    if layer.type in ACTIVATIONS:
        return "activations"
    if layer.type in DENSE:
        return "dense"
    if layer.type not in SPATIAL:
        return None
    side, step = layer.integer(1, 1), layer.integer(3, 1)
    whole = layer.type == "Convolution" and side == step  # patches, or one position at a time
    return "dense" if whole else "spatial"
