"""OpenVINO's performance counters -> the modules that the executed layers came from."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slide_export.backends.profile import WARM, lines, shared_module
from slide_export.core.artifact import Feeds
from slide_export.core.measurement import Executed, ModuleTime, Product

from .dtypes import EXECUTED, HEAVY
from .runtime import CACHE, compile_ir

SPLIT = "/WithoutBiases"  # what OpenVINO adds to the name of a product whose bias it has split off


def profile(path: Path, settings: Mapping[str, Any], feeds: Feeds, calls: int) -> tuple[ModuleTime, ...]:
    """Times of OpenVINO's performance counters, layer by layer of the graph that the device executes."""
    config = {key: value for key, value in settings["config"].items() if key != CACHE} | {"PERF_COUNT": True}
    model, compiled = compile_ir(path, {**settings, "config": config}, len(next(iter(feeds.values()))))
    request = compiled.create_infer_request()
    times: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(WARM + calls):
        request.infer(dict(feeds))
        for info in request.profiling_info:
            if info.status == info.Status.EXECUTED:
                times[info.node_name, info.node_type].append(info.real_time.total_seconds() * 1e3)
    layers = {layer.get_friendly_name(): layer for layer in compiled.get_runtime_model().get_ordered_ops()}
    products = {layer.get_friendly_name(): _product(layer) for layer in model.get_ops()}
    return lines(
        [
            Executed(_module(layers.get(name)), kind, _executed_product(layers.get(name), products), tuple(ms[WARM:]))
            for (name, kind), ms in times.items()
            if len(ms) > WARM  # what depends on no input is computed in the first call and kept
        ]
    )


def _origins(layer: Any) -> list[str]:
    """The IR's names of the layers that an executed one replaces; a layer that replaces none was inserted."""
    told = layer is not None and "originalLayersNames" in layer.rt_info
    return [name for name in layer.rt_info["originalLayersNames"].astype(str).split(",") if name] if told else []


def _module(layer: Any) -> str | None:
    """Module of an executed layer: of its origins or, where they tell none, of its weights."""
    origins = [name.removesuffix(SPLIT) for name in _origins(layer)]
    product = layer is not None and layer.rt_info["layerType"].astype(str) in EXECUTED
    shared = shared_module(origins[:1] if product else origins)  # what follows a product was fused into it
    if shared is not None or layer is None:
        return shared
    sources = (port.get_source_output().get_node().get_friendly_name() for port in layer.inputs())
    return next((name.rpartition(".")[0] for name in sources if name.endswith((".weight", ".bias"))), None)


def _product(layer: Any) -> Product | None:
    """Kind of product that a layer of the IR is, None for no product."""
    kind = layer.get_type_name()
    if kind not in HEAVY:
        return None
    if kind == "MatMul":
        operands = [port.get_source_output().get_node() for port in layer.inputs()]
        return "dense" if any(_is_constant(node) for node in operands) else "activations"
    kernel = list(layer.input(1).get_partial_shape())[2:]
    dense = kind == "Convolution" and [size.get_length() for size in kernel] == layer.get_attributes()["strides"]
    return "dense" if dense else "spatial"


def _is_constant(layer: Any) -> bool:
    """Whether a layer is a weight, or one that is converted, say from float16, at each start."""
    while layer.get_type_name() in ("Convert", "Multiply", "Reshape", "Subtract", "Transpose") and layer.inputs():
        layer = layer.input_value(0).get_node()
    return bool(layer.get_type_name() == "Constant")


def _executed_product(layer: Any, products: Mapping[str, Product | None]) -> Product | None:
    """The first product among the origins of an executed layer."""
    if layer is not None and layer.rt_info["layerType"].astype(str) == "FullyConnected":
        return "dense"  # its name may have gone to its bias
    return next((product for name in _origins(layer) if (product := products.get(name))), None)
