"""The weights of a network, by the layers that read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slide_export.core.stored import StoredConstant, rounded_float

from . import network, weights
from .modules import module_of


def stored(path: Path, settings: Mapping[str, Any]) -> Iterator[StoredConstant]:
    """Every weight of a network, called after its layer: `layers.0.blocks.0.mlp.fc1/Gemm.weight`.

    Raises:
        BundleError: the network cannot be read.
    """
    layers = network.read(path)
    for tensor in weights.read(layers, weights.load(path)):
        layer = layers[tensor.layer]
        yield rounded_float(f"{layer.name}.{tensor.part.name}", tensor.stored, tensor.values, module_of(layer))
