"""ServedModel -> network, weights and the settings that a session is started with."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slide_export.backends.interface import LoweringOptions, Option
from slide_export.core.artifact import Artifact
from slide_export.core.errors import BundleError, LoweringError, RequestError
from slide_export.core.graph import TensorSpec
from slide_export.core.precision import W16
from slide_export.inference.served import ServedModel

from . import network, weights
from .convert import Converted, convert
from .lint import unknown
from .modules import Outputs, by_weights, given, is_activated, module_of, named
from .network import Layer, weights_of
from .probe import refuse_crash
from .repair import drop_unused, fix_shapes, settle_batch_reshapes
from .runtime import EXACT, extract, extractor, open_net, shapes
from .settings import MOST_THREADS

if TYPE_CHECKING:
    from slide_export.core.artifact import Array

FILE = "model.param"
OPTIONS: Mapping[str, Option] = {
    "threads": Option("1", "threads of ncnn's, which wait passively; a measurement has its own"),
}


def lower(source: ServedModel, directory: Path, options: LoweringOptions) -> Artifact:
    """Write `model.param` and `model.bin`: the same bytes for the same model.

    Raises:
        RequestError: the model takes several images a call, or the options tell no number of threads.
        LoweringError: pnnx or ncnn cannot express the model.
    """
    _refuse_coupled(source)
    settings = _settings(source, options)
    with tempfile.TemporaryDirectory() as made:
        converted = convert(source, Path(made))
        layers, data = _network(converted, source)
    if options.precision == W16:
        layers, data = weights.halved(layers, data)
    path = directory / FILE
    path.write_text(network.render(layers), "utf-8")
    weights_of(path).write_bytes(data)
    _refuse_other_shapes(path, converted, source)
    inputs, outputs = _ends(source, converted)
    return Artifact("ncnn", options.precision, path, inputs, outputs, settings)


def companions(path: Path) -> tuple[Path, ...]:
    """The weights, which stand in a file of their own."""
    return (weights_of(path),)


def _refuse_coupled(source: ServedModel) -> None:
    if source.coupled > 1:
        raise RequestError(
            f"ncnn has no batch axis: expected a model whose images do not change each other's outputs, found one that "
            f"takes them {source.coupled} by {source.coupled}; take another target"
        )


def _settings(source: ServedModel, options: LoweringOptions) -> dict[str, Any]:
    threads = options.options["threads"]
    if not re.fullmatch("[1-9][0-9]{0,3}", threads) or int(threads) > MOST_THREADS:
        raise RequestError(f"expected threads of 1 to {MOST_THREADS}, found {threads!r}")
    return {"options": dict(EXACT), "threads": int(threads), "bytes": source.io.embed_preprocessing}


def _network(converted: Converted, source: ServedModel) -> tuple[tuple[Layer, ...], bytes]:
    """The layers that pnnx wrote, repaired and called after the model's modules, and their weights.

    Raises:
        LoweringError: ncnn does not have all of the layers, or cannot run them.
    """
    layers = settle_batch_reshapes(network.read(converted.param), converted.graph.read_text("utf-8"))
    _refuse_unknown(layers, source)
    data = converted.weights.read_bytes()
    images = _images(converted)
    try:
        own = by_weights(converted.graph_weights, tuple(weights.read(layers, data)))
        called = named(layers, own, {})
        refuse_crash(_rewritten(converted, layers), images, layers, called)
        net = _opened(converted, layers)
        _refuse_failing(called, layers, extractor(net, images, keep=True), source)
        layers = drop_unused(fix_shapes(layers, lambda names: shapes(net, images, names)))
        own = by_weights(converted.graph_weights, tuple(weights.read(layers, data)))  # fewer layers now
        outputs = Outputs(given(converted.module, converted.images))
        own = _by_outputs(layers, own, outputs, extractor(_opened(converted, layers), images, keep=True))
    except BundleError as error:
        raise LoweringError(f"expected a model that ncnn runs: {error}") from error
    return named(layers, own, _names(source)), data


def _opened(converted: Converted, layers: tuple[Layer, ...]) -> Any:
    """The layers as they are now, loaded with the weights as they came."""
    return open_net(_rewritten(converted, layers), EXACT, 1)


def _rewritten(converted: Converted, layers: tuple[Layer, ...]) -> Path:
    converted.param.write_text(network.render(layers), "utf-8")
    return converted.param


def _images(converted: Converted) -> dict[str, Array]:
    """The images of the trace by pnnx's names, without their batch."""
    return {f"in{index}": image[0].numpy() for index, image in enumerate(converted.images)}


def _by_outputs(layers: tuple[Layer, ...], own: Mapping[int, str], outputs: Outputs, state: Any) -> dict[int, str]:
    """Modules by index of the layers that are the output of one, or have the weights of one."""
    found = dict(own)
    for index, layer in enumerate(layers):
        if layer.inputs and layer.type != "Split":
            blob = extract(state, layer.outputs[0])
            module = outputs.module(blob, but=own.get(index) if is_activated(layer) else None)
            if module is not None:
                found[index] = module
            elif index in own:
                found[index] = outputs.around(own[index], blob)
    return found


def _names(source: ServedModel) -> dict[str, str]:
    """The task's name of each input and output, by pnnx's."""
    ends = (("in", source.input_names), ("out", source.output_names))
    return {f"{word}{index}": name for word, names in ends for index, name in enumerate(names)}


def _refuse_failing(called: tuple[Layer, ...], layers: tuple[Layer, ...], state: Any, source: ServedModel) -> None:
    """Refuse a network that ncnn loads and cannot run: pnnx takes the windows of some attentions for a batch.

    Args:
        called: the layers after their modules.

    Raises:
        LoweringError: names the first layer that fails.
    """
    for layer, name in zip(layers, called, strict=True):
        if layer.inputs and state.extract(layer.outputs[0])[0]:
            raise LoweringError(
                f"expected a model that ncnn can run, it fails in the {layer.type} of {module_of(name)} as pnnx wrote "
                f"it for {source.trained.variant}: take another target or another form"
            )


def _refuse_unknown(layers: tuple[Layer, ...], source: ServedModel) -> None:
    """Refuse what no ncnn loads; pnnx ends with 0 all the same.

    Raises:
        LoweringError: names the types.
    """
    import ncnn

    found = sorted({layer.type for layer in unknown(layers)})
    if found:
        raise LoweringError(
            f"expected a model that ncnn can express, pnnx made layers of {source.trained.variant} that ncnn "
            f"{ncnn.__version__} does not have: {', '.join(found)}; take another target or another form"
        )


def _refuse_other_shapes(path: Path, converted: Converted, source: ServedModel) -> None:
    """Run the saved network once: its outputs have to have the model's shapes, without the batch.

    Raises:
        LoweringError: one has not, or the network does not run.
    """
    try:
        net = open_net(path, EXACT, 1)
        named_images = dict(zip(source.input_names, _images(converted).values(), strict=True))
        found = shapes(net, named_images, source.output_names)
    except BundleError as error:
        raise LoweringError(f"expected a model that ncnn runs: {error}") from error
    for name, (batch, *shape) in zip(source.output_names, converted.shapes, strict=True):
        if batch != 1 or found[name] != tuple(shape):
            raise LoweringError(f"expected {name} of the shape {shape} from ncnn, found {list(found[name])}")


def _ends(source: ServedModel, converted: Converted) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs as `Session` takes and gives them, images in front."""
    batch, (rows, cols) = source.io.batch or "batch", source.trained.image_size
    picture = source.io.embed_preprocessing
    kind, shape = ("uint8", (rows, cols, 3)) if picture else ("float32", (3, rows, cols))
    inputs = tuple(TensorSpec(name, kind, (batch, *shape)) for name in source.input_names)
    outputs = tuple(
        TensorSpec(name, "float32", (batch, *shape))
        for name, (_, *shape) in zip(source.output_names, converted.shapes, strict=True)
    )
    return inputs, outputs
