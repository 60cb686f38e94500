"""A recipe, operator by operator, for LiteRT's quantizer.

Nothing is left to its own choice: it is told each layer by the name of its result, so softmax, LayerNorm and products
of two activations stay in float, and so do inputs and outputs.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slide_export.backends import isolation
from slide_export.core.errors import CalibrationError, LoweringError, RequestError

from . import flatbuffer

if TYPE_CHECKING:
    from slide_export.calibration.image_cache import FedImages
    from slide_export.calibration.recipe import QuantizationRecipe

KINDS = {"FULLY_CONNECTED": "linear", "CONV_2D": "convolution", "DEPTHWISE_CONV_2D": "depthwise"}
"""Operators with weights, in the words of a recipe."""
METHODS = {"float": "weights", "dynamic": "dynamic", "asymmetric": "static"}
"""In the words of `convert.py`."""


def quantized(content: bytes, recipe: QuantizationRecipe, images: FedImages | None) -> bytes:
    """A float32 file, quantized.

    Args:
        images: what ranges are observed on, for a calibrated recipe.

    Raises:
        RequestError: the recipe has symmetric activations.
        LoweringError: the recipe quantizes no layer, or the quantizer does not take it.
        CalibrationError: the recipe is calibrated, and there are no images.
    """
    from . import ENVIRONMENT
    from .artifact import SCRIPT, VARIABLES

    if recipe.activations not in METHODS:
        raise RequestError(
            f"expected activations of {', '.join(METHODS)} for litert, found {recipe.activations}: its 8-bit kernels "
            "are asymmetric"
        )
    if recipe.calibrated and images is None:
        raise CalibrationError("expected images to observe ranges on, found none: int8 is calibrated")
    entries = list(_entries(flatbuffer.parse(content), recipe))
    if not entries:
        raise LoweringError("expected a recipe that quantizes a layer of this model, found one that quantizes none")
    with tempfile.TemporaryDirectory() as temporary:
        model, made = (Path(temporary) / name for name in ("float.tflite", "quantized.tflite"))
        model.write_bytes(content)
        feeds = [] if images is None else list(_written(images, Path(temporary)))
        job: dict[str, Any] = {
            "do": "quantize",
            "model": str(model),
            "entries": entries,
            "feeds": feeds,
            "out": str(made),
        }
        isolation.run(isolation.require("litert", ENVIRONMENT), SCRIPT, job, VARIABLES)
        return flatbuffer.finished(made.read_bytes())


def _entries(graph: flatbuffer.Graph, recipe: QuantizationRecipe) -> Iterator[dict[str, Any]]:
    """What the quantizer is told of each layer; each regular expression matches one result.

    LiteRT's calibrated kernels round a layer's result to 8 bits too. Of the last layer that is the model's answer: on the
    digits 22 dB, against 35 dB where it stays in float. So it does.
    """
    last = _last(graph) if recipe.calibrated else frozenset()
    for operation, _, weights in graph.products():
        kind, result = KINDS.get(operation.name), graph.tensors[operation.outputs[0]]
        if kind is None or weights.data is None or operation.outputs[0] in last:
            continue
        # Weights that the converter made of several modules, a LayerNorm and a layer, are quantized where each may be.
        named = weights if weights.scope else result
        if not all(recipe.quantizes(scope, kind) for scope in flatbuffer.scopes_of(named.name)):
            continue
        yield {
            "regex": f"^{re.escape(result.name)};",  # results are joined and ended by ";"
            "operation": operation.name,
            "method": METHODS[recipe.activations],
            "per_channel": recipe.per_channel,
        }


def _last(graph: flatbuffer.Graph) -> frozenset[int]:
    """Results of products that no other product is computed from: those of the layers that give the outputs."""
    feeding: set[int] = set()  # tensors that a product is computed from
    for operation in reversed(graph.operations):
        if operation.name in flatbuffer.PRODUCTS or feeding.intersection(operation.outputs):
            feeding.update(operation.inputs)
    products = (operation for operation, _, _ in graph.products())
    return frozenset(index for one in products for index in one.outputs if index not in feeding)


def _written(images: FedImages, directory: Path) -> Iterator[str]:
    for number, feeds in enumerate(images):
        path = directory / f"{number}.npz"
        np.savez(path, **feeds)  # type: ignore[arg-type]  # every value is an array
        yield str(path)
