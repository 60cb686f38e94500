"""ONNX graph -> OpenVINO IR and the settings that a session is started with.

An IR of a dynamic batch is saved with batch 1: with a dynamic one OpenVINO executes the reorders and transposes around
channels-last convolutions that it otherwise leaves out, so a load of the file alone would take 1.6 times as long. No
layer has the batch in it, so `model.reshape([-1, 3, 224, 224])` gives the dynamic model back and `[8, ...]` another
static one, of the same two files.
"""

import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from slide_export.backends.interface import LoweringOptions, Option
from slide_export.core.artifact import LARGEST_BATCH, Artifact
from slide_export.core.errors import LoweringError, RequestError
from slide_export.core.graph import OnnxGraph
from slide_export.core.precision import BF16, FP16, FP32
from slide_export.core.text import foreign
from slide_export.core.whole_number import is_number
from slide_export.native.library import for_graph

from . import own_operator
from .bfloat16 import store_in_bfloat16
from .runtime import CACHE, HINT, core_for, reason
from .wide_kernels import feed_in_float

OPTIONS: Mapping[str, Option] = {
    "device": Option("CPU", "where it runs: CPU, GPU, NPU, AUTO or any other OpenVINO device name"),
    "cache": Option("", "a directory for compiled models; none by default"),
    "static-batches": Option(
        "1",
        "batch sizes to compile on their own, with commas between; others share one model. Without any, the IR has a "
        "dynamic batch, else it has batch 1",
    ),
}
RT_INFO = "slide_export"  # where the metadata stands in the IR's rt_info


def lower(graph: OnnxGraph, directory: Path, options: LoweringOptions) -> Artifact:
    """Write `model.xml` and `model.bin`: the same bytes for the same graph.

    Raises:
        LoweringError: OpenVINO cannot read the graph or write the IR.
    """
    import openvino

    path, settings = directory / "model.xml", _settings(options)
    native = for_graph(graph, directory, partial(own_operator.native_runtime, options.options))
    if native is not None:
        settings["library"] = native.library
    try:
        model = core_for(path, settings).read_model(io.BytesIO(graph.proto.SerializeToString(deterministic=True)))
        _describe(model, graph)
        _name_layers(model)
        if settings["static_batches"]:
            _set_batch(model, 1)
        if options.precision.computes_integers:
            feed_in_float(model)
        if options.precision == BF16:
            store_in_bfloat16(model)
            own_operator.compute_in_bfloat16(model)
        openvino.save_model(model, path, compress_to_fp16=options.precision == FP16)  # compressed by default
    except RuntimeError as error:
        raise LoweringError(f"expected a graph that OpenVINO can write as IR, it says: {reason(error)}") from error
    return Artifact("openvino", options.precision, path, graph.inputs, graph.outputs, settings, native=native)


def companions(path: Path) -> tuple[Path, ...]:
    """The weights of the IR at `path`, which OpenVINO reads from the same name."""
    return (path.with_suffix(".bin"),)


def _describe(model: Any, graph: OnnxGraph) -> None:
    """Set port names from the graph; move the metadata to `rt_info["slide_export"]`, from where the reader puts it."""
    for port, spec in zip((*model.inputs, *model.outputs), (*graph.inputs, *graph.outputs), strict=True):
        port.get_tensor().set_names({spec.name})
    if "framework" in model.rt_info:
        del model.rt_info["framework"]
    for entry in graph.proto.metadata_props:
        model.set_rt_info(entry.value, [RT_INFO, entry.key])


def _set_batch(model: Any, batch: int) -> None:
    """Give every input a batch size; `reshape` would also rewrite layers, under names numbered through the process."""
    import openvino

    for parameter in model.get_parameters():
        parameter.set_partial_shape(openvino.PartialShape([batch, *list(parameter.get_partial_shape())[1:]]))
    model.validate_nodes_and_infer_types()


def _name_layers(model: Any) -> None:
    """Name layers that have no name in the ONNX graph: OpenVINO counts them through the whole life of the process."""
    for index, layer in enumerate(model.get_ordered_ops()):
        if layer.get_friendly_name() == layer.get_name():  # nobody named it
            layer.set_friendly_name(f"{layer.get_type_name()}_{index}")


def _settings(options: LoweringOptions) -> dict[str, Any]:
    """Settings that the runtime is started with.

    A CPU computes both precisions in float32: fp16 there is a matter of size alone, and the same answers everywhere are
    worth more than the few CPUs that have float16 arithmetic. Other devices are asked for what the artifact stores. In
    bf16 the arithmetic is what was asked for.
    """
    device, cache = options.options["device"], options.options["cache"]
    static = [] if options.interface.batch else _sizes(options.options["static-batches"])
    full = options.precision == FP32 or device == "CPU"
    config = {HINT: "bf16" if options.precision == BF16 else "f32" if full else "f16"}
    if cache:
        config[CACHE] = cache
    return {"device": device, "config": config, "static_batches": static}


def _sizes(text: str) -> list[int]:
    """The batch sizes in "1,8"; none in "".

    Raises:
        RequestError: it holds something else.
    """
    parts = [part for part in text.split(",") if part]
    if not all(is_number(part) and 1 <= int(part) <= LARGEST_BATCH for part in parts):
        raise RequestError(f"expected static-batches like 1,8, none above {LARGEST_BATCH}; found {foreign(text)!r}")
    return [int(part) for part in parts]
