"""OnnxGraph, images -> OnnxGraph with QuantizeLinear and DequantizeLinear: one file a library, named like it."""

import contextlib
import importlib
import io
from collections.abc import Iterator
from typing import Protocol, cast

import onnx

from slide_export.calibration.fp16_constants import HalveTables
from slide_export.calibration.layer_selection import layers, selected
from slide_export.calibration.recipe import QuantizationRecipe
from slide_export.core.artifact import Feeds
from slide_export.core.errors import BackendUnavailable, LoweringError
from slide_export.core.graph import OnnxGraph
from slide_export.graph.convert import to_ir, to_proto

from . import own_operator


class Images(Protocol):
    """What a quantizer observes ranges on."""

    def __len__(self) -> int:
        """How many there are."""

    def __iter__(self) -> Iterator[Feeds]:
        """What the graph is fed, one image at a time, from the first one each time."""


class Quantizer(Protocol):
    """A library. It is imported inside the function, never when the file is."""

    def quantize(
        self, proto: onnx.ModelProto, nodes: list[str], images: Images | None, recipe: QuantizationRecipe
    ) -> onnx.ModelProto:
        """Quantize exactly these nodes; `proto` is the library's to change. Weights alone need no images."""


def quantize(graph: OnnxGraph, images: Images | None, recipe: QuantizationRecipe) -> OnnxGraph:
    """The graph as the recipe quantizes it: Q/DQ around the layers that it names, every other node as it was.

    Raises:
        BackendUnavailable: the recipe's library is not installed.
        RequestError: the recipe names modules that are not there.
        LoweringError: the library cannot quantize the graph, or leaves a graph that is not valid.
    """
    nodes = selected(layers(graph.proto), recipe)
    library = cast(Quantizer, importlib.import_module(f".{recipe.library}", __name__))
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # progress bars and the like: ours is for the result alone
            source = _copy(graph.proto)
            own = own_operator.expand(source)
            proto = library.quantize(source, nodes, images, recipe)
            own_operator.collapse(proto, own)
    except ModuleNotFoundError as error:
        raise BackendUnavailable(
            f"expected {recipe.library} to quantize with, found no {error.name}: pip install {recipe.library}"
        ) from error
    if recipe.tables == "half":
        proto = to_proto(HalveTables(recipe.keep_fp32)(to_ir(proto)).model)
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise LoweringError(f"expected {recipe.library} to leave a valid graph, the checker says: {error}") from error
    return OnnxGraph(proto, graph.inputs, graph.outputs)


def _copy(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy for a library that changes what it is given."""
    copied = onnx.ModelProto()
    copied.CopyFrom(proto)
    return copied
