"""OpenVINO IR, run by OpenVINO Runtime.

`model.xml` holds the layers, `model.bin` the weights. The precision of an IR is what it stores; what a device computes
in is the runtime's decision (bfloat16 on Xeons with AMX, float16 on GPUs: openvino PR#20713), so every artifact ships
with an inference precision, and is proved with it. Embedded preprocessing is the ONNX graph's own, four layers that
OpenVINO reads as what `PrePostProcessor` would write: the same for every target, and proved with the rest.
"""

import io
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from slide_export.backends.interface import LoweringOptions, Option, Value
from slide_export.benchmark.profile import WARM, lines, module_of, shared_module
from slide_export.core.artifact import Artifact, DtypeStats, Feeds, Outputs
from slide_export.core.errors import BackendUnavailable, BundleError, LoweringError, RequestError
from slide_export.core.graph import OnnxGraph
from slide_export.core.measurement import Executed, ModuleTime, Product

ACCEPTS = OnnxGraph
PRECISIONS = ("fp32", "fp16", "int8", "w8")
IN_GRAPH = frozenset({"int8", "w8"})
DISTRIBUTIONS = ("openvino",)
OPTIONS: Mapping[str, Option] = {
    "device": Option("CPU", "where it runs: CPU, GPU, NPU, AUTO or any other OpenVINO device name"),
    "cache": Option("", "a directory for compiled models; none by default"),
    "static-batches": Option("1", "batch sizes to compile on their own, with commas between; others share one model"),
}
RUNTIME = ("openvino",)
DEVICE = ("numpy", "openvino")
HINT, CACHE = "INFERENCE_PRECISION_HINT", "CACHE_DIR"
RT_INFO = "slide_export"  # where the metadata stands in the IR's rt_info
HEAVY = frozenset({"Convolution", "GroupConvolution", "MatMul"})  # as the IR says it
EXECUTED = HEAVY | {"FullyConnected"}  # as a compiled model says it
SPLIT = "/WithoutBiases"  # what OpenVINO adds to the name of a product whose bias it has split off
WHERE = ("Exception from ", "Check '", "FrontEnd API failed ")  # how lines begin that are for OpenVINO's developers
LONG = {"bf": "bfloat", "f": "float", "i": "int", "u": "uint"}
VIRTUAL = frozenset({"AUTO", "BATCH", "HETERO", "MULTI"})  # devices that stand for others


def obstacle() -> str | None:
    """Returns why OpenVINO has no CPU device here, None where it has one."""
    try:
        from openvino import Core

        devices = Core().available_devices
    except (ImportError, OSError, RuntimeError) as error:
        return f"OpenVINO cannot start: {_reason(error)}"
    return None if "CPU" in devices else f"OpenVINO has no CPU device here, only {', '.join(devices) or 'none'}"


def stand_in() -> str | None:
    """Returns None: OpenVINO is what ships."""
    return None


def lower(graph: OnnxGraph, directory: Path, order: LoweringOptions) -> Artifact:
    """Writes `model.xml` and `model.bin`: the same bytes for the same graph.

    Raises:
        LoweringError: OpenVINO cannot read the graph or write the IR.
    """
    import openvino

    path = directory / "model.xml"
    try:
        model = openvino.Core().read_model(io.BytesIO(graph.proto.SerializeToString(deterministic=True)))
        _describe(model, graph)
        _name_layers(model)
        openvino.save_model(model, path, compress_to_fp16=order.precision == "fp16")  # compressed by default
    except RuntimeError as error:
        raise LoweringError(f"expected a graph that OpenVINO can write as IR, it says: {_reason(error)}") from error
    return Artifact("openvino", order.precision, path, graph.inputs, graph.outputs, _settings(order))


def _describe(model: Any, graph: OnnxGraph) -> None:
    """Gives the ports the graph's names alone, and moves the metadata from where the ONNX reader puts it to ours."""
    for port, spec in zip((*model.inputs, *model.outputs), (*graph.inputs, *graph.outputs), strict=True):
        port.get_tensor().set_names({spec.name})
    if "framework" in model.rt_info:
        del model.rt_info["framework"]
    for entry in graph.proto.metadata_props:
        model.set_rt_info(entry.value, [RT_INFO, entry.key])


def _name_layers(model: Any) -> None:
    """Names layers that have no name in the ONNX graph: OpenVINO counts them through the whole life of the process."""
    for index, layer in enumerate(model.get_ordered_ops()):
        if layer.get_friendly_name() == layer.get_name():  # nobody named it
            layer.set_friendly_name(f"{layer.get_type_name()}_{index}")


def _settings(order: LoweringOptions) -> dict[str, Any]:
    """Returns what the runtime is started with.

    A CPU computes both precisions in float32: fp16 there is a matter of size alone, and the same answers everywhere are
    worth more than the few CPUs that have float16 arithmetic. Other devices are asked for what the artifact stores.

    A batch size that is compiled on its own is a static model: with a dynamic batch OpenVINO executes the transposes
    around channels-last convolutions that it otherwise leaves out, and Slide-Swin-T takes 1.3 times as long.
    """
    device, cache = order.options["device"], order.options["cache"]
    static = [] if order.interface.batch else _sizes(order.options["static-batches"])
    config = {HINT: "f32" if order.precision == "fp32" or device == "CPU" else "f16"}
    if cache:
        config[CACHE] = cache
    return {"device": device, "config": config, "static_batches": static}


def _sizes(text: str) -> list[int]:
    """Returns the batch sizes in "1,8"; none in "".

    Raises:
        RequestError: it holds something else.
    """
    parts = [part for part in text.split(",") if part]
    if not all(part.isdigit() and int(part) for part in parts):
        raise RequestError(f"expected static-batches like 1,8; found {text!r}")
    return [int(part) for part in parts]


def census(path: Path, settings: Mapping[str, Any]) -> DtypeStats:
    """Returns the types of the IR's constants and, of each convolution and matrix product, of its activations.

    Raises:
        BundleError: the IR cannot be read.
        BackendUnavailable: the device is not here.
        LoweringError: the device cannot compile it.
    """
    config = {key: value for key, value in settings["config"].items() if key != CACHE}  # a cached model has no origins
    first = next(iter(settings.get("static_batches", ())), None)
    stored, computed = _stored(path), _computed(*_compile(path, {**settings, "config": config}, first))
    return DtypeStats(_rename(stored), _integers(_rename(computed)), fixed=False, marked=_marked(path))


def _marked(path: Path) -> int:
    """Returns the number of 8-bit weights in an IR: constants of more than one axis that are converted to a float."""
    layers = ElementTree.parse(path).iterfind("./layers/layer[@type='Const']")
    found = 0
    for layer in layers:
        data = layer.find("data")
        sides = [int(side) for side in (data.get("shape") or "0").split(",")] if data is not None else []
        found += data is not None and data.get("element_type") in ("i8", "u8") and sum(side > 1 for side in sides) > 1
    return found


def _integers(counts: Mapping[str, int]) -> dict[str, int]:
    """Returns the counts with signed and unsigned 8-bit activations under one name: weights are signed with both."""
    merged: Counter[str] = Counter()
    for kind, number in counts.items():
        merged["int8" if kind in ("int8", "uint8") else kind] += number
    return dict(merged)


def profile(path: Path, settings: Mapping[str, Any], feeds: Feeds, calls: int) -> tuple[ModuleTime, ...]:
    """Returns the times of OpenVINO's performance counters, layer by layer of the graph that the device executes."""
    config = {key: value for key, value in settings["config"].items() if key != CACHE} | {"PERF_COUNT": True}
    model, compiled = _compile(path, {**settings, "config": config}, len(next(iter(feeds.values()))))
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
    """Returns the IR's names of the layers that an executed one replaces; a layer that replaces none was inserted."""
    told = layer is not None and "originalLayersNames" in layer.rt_info
    return [name for name in layer.rt_info["originalLayersNames"].astype(str).split(",") if name] if told else []


def _module(layer: Any) -> str | None:
    """Returns the module of an executed layer: of its origins or, where they tell none, of its weights."""
    origins = [name.removesuffix(SPLIT) for name in _origins(layer)]
    product = layer is not None and layer.rt_info["layerType"].astype(str) in EXECUTED
    shared = shared_module(origins[:1] if product else origins)  # what follows a product was fused into it
    if shared is not None or layer is None:
        return shared
    sources = (port.get_source_output().get_node().get_friendly_name() for port in layer.inputs())
    return next((name.rpartition(".")[0] for name in sources if name.endswith((".weight", ".bias"))), None)


def _product(layer: Any) -> Product | None:
    """Returns what kind of product a layer of the IR is."""
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
    """Returns whether a layer is a weight, or one that is converted, say from float16, at each start."""
    while layer.get_type_name() in ("Convert", "Multiply", "Reshape", "Subtract", "Transpose") and layer.inputs():
        layer = layer.input_value(0).get_node()
    return bool(layer.get_type_name() == "Constant")


def _executed_product(layer: Any, products: Mapping[str, Product | None]) -> Product | None:
    """Returns the first product among the origins of an executed layer."""
    if layer is not None and layer.rt_info["layerType"].astype(str) == "FullyConnected":
        return "dense"  # its name may have gone to its bias
    return next((product for name in _origins(layer) if (product := products.get(name))), None)


def _rename(counts: Mapping[str, int]) -> dict[str, int]:
    """Returns the counts with NumPy's names for OpenVINO's types: float16 for f16."""
    return {re.sub(r"^(bf|f|i|u)(?=\d)", lambda short: LONG[short[0]], kind): counts[kind] for kind in sorted(counts)}


def _stored(path: Path) -> dict[str, int]:
    """Returns the bytes of `model.bin` by element type; constants that share their bytes count once."""
    try:
        constants = ElementTree.parse(path).iterfind("./layers/layer[@type='Const']/data")
    except (OSError, ElementTree.ParseError) as error:
        raise BundleError(f"expected an OpenVINO IR at {path}, it cannot be read: {error}") from error
    places = {(data.get("element_type", ""), data.get("offset"), int(data.get("size", 0))) for data in constants}
    stored: Counter[str] = Counter()
    for kind, _, size in places:
        stored[kind] += size
    return dict(stored)


def _computed(model: Any, compiled: Any) -> dict[str, int]:
    """Returns the number of heavy layers by the type of their first input, once the device has fused and converted.

    Empty where the device does not tell.

    The `runtimePrecision` that OpenVINO gives is not asked: it is the smallest type among the inputs, and says f16 of a
    float32 product whose weights are stored in float16 (Source: openvinotoolkit/openvino 759de8b,
    src/plugins/intel_cpu/src/utils/general_utils.h, getMaxPrecision).
    """
    heavy = {layer.get_friendly_name() for layer in model.get_ops() if layer.get_type_name() in HEAVY}
    try:
        executed = compiled.get_runtime_model().get_ordered_ops()
    except RuntimeError:
        return {}
    computed: Counter[str] = Counter()
    for layer in executed:
        info = layer.rt_info
        kind, origins = (info[key].astype(str) if key in info else "" for key in ("layerType", "originalLayersNames"))
        # A fused subgraph, such as window attention becomes, is none of the kinds but knows whom it replaces.
        count = 1 if kind in EXECUTED else len(heavy.intersection(origins.split(",")))
        if count:
            computed[layer.input(0).get_element_type().get_type_name()] += count
    return dict(computed)


def _read(core: Any, path: Path) -> Any:
    try:
        return core.read_model(path)
    except RuntimeError as error:
        raise BundleError(f"expected an OpenVINO IR, OpenVINO cannot read {path}: {_reason(error)}") from error


def _compile(
    path: Path, settings: Mapping[str, Any], batch: int | None = None, shown: Sequence[str] = ()
) -> tuple[Any, Any]:
    """Returns the IR and the same compiled with exactly these settings, for one batch size where they say so.

    Args:
        shown: more values to have among the outputs.
    """
    import openvino

    core = openvino.Core()
    model = _read(core, path)
    _show(model, shown)
    device = settings["device"]
    _refuse_absent(device, core.available_devices)
    threads = {"INFERENCE_NUM_THREADS": settings["threads"]} if "threads" in settings else {}
    try:
        if batch in settings.get("static_batches", ()):
            model.reshape([batch, *model.input().get_partial_shape()[1:]])
        # Never by path: the cache would then be keyed without the .bin and answer with weights that it no longer has; a
        # model that was read is keyed by its weights too (seen with 2026.4.1, and tested).
        return model, core.compile_model(model, device, {**settings["config"], **threads})
    except RuntimeError as error:
        raise LoweringError(f"expected {path} to compile for {device}, OpenVINO says: {_reason(error)}") from error


def _refuse_absent(device: str, available: list[str]) -> None:
    kind, _, members = device.partition(":")
    wanted = [name.strip(" -").split("(")[0] for name in members.split(",") if name] if kind in VIRTUAL else [kind]
    here = {name.split(".")[0] for name in available}  # GPU.0 and GPU.1 are GPUs
    absent = [name for name in wanted if name.split(".")[0] not in here]
    if absent:
        raise BackendUnavailable(
            f"expected a device that OpenVINO finds on this machine ({', '.join(available) or 'none'}), "
            f"found {', '.join(map(repr, absent))}: choose one of them or install the other's driver"
        )


def _reason(error: BaseException) -> str:
    """Returns OpenVINO's message in one line, without the lines that say where in its source it was."""
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(WHERE))


def values(path: Path, settings: Mapping[str, Any]) -> tuple[Value, ...]:
    """Returns every value of the IR that depends on an input, in the order of execution.

    Layers are called after the ONNX graph's nodes, so after modules; those that the ONNX reader added have no path.

    Raises:
        BundleError: the IR cannot be read.
    """
    import openvino

    live: set[str] = set()
    found = []
    for layer in _read(openvino.Core(), path).get_ordered_ops():
        takes = tuple(name for name in map(_value_name, layer.input_values()) if name in live)
        if takes or layer.get_type_name() == "Parameter":
            names = [_value_name(port) for port in layer.outputs()]
            live.update(names)
            name = layer.get_friendly_name()
            scope = module_of(name)
            found += [Value(name, scope, takes) for name in names if takes and layer.get_type_name() != "Result"]
    return tuple(found)


def _value_name(port: Any) -> str:
    return f"{port.get_node().get_friendly_name()}:{port.get_index()}"


def intermediates(path: Path, settings: Mapping[str, Any], names: Sequence[str]) -> "Session":
    """Returns a session that gives these values beside the outputs.

    Raises:
        BundleError, BackendUnavailable, LoweringError: see `Session`.
    """
    return Session(path, settings, names)


def _show(model: Any, names: Sequence[str]) -> None:
    """Makes outputs of values, called as `values` calls them."""
    ports = {_value_name(port): port for layer in model.get_ordered_ops() for port in layer.outputs()}
    for name, port in zip(names, model.add_outputs([ports[name] for name in names]), strict=True):
        port.get_tensor().add_names({name})


class Session:
    """An IR compiled by OpenVINO: once for each batch size that the settings name, once more for all others."""

    def __init__(self, path: Path, settings: Mapping[str, Any], shown: Sequence[str] = ()) -> None:
        import openvino

        self._path, self._settings, self._shown = path, settings, shown
        self._static = tuple(settings.get("static_batches", ()))
        first = self._static[0] if self._static else None
        model, compiled = _compile(path, settings, first, shown)
        self._compiled = {first: compiled}
        self._inputs = {port.get_any_name(): str(port.get_element_type().to_dtype()) for port in compiled.inputs}
        devices = ", ".join(compiled.get_property("EXECUTION_DEVICES"))
        # A device may settle on another type than the hint's.
        types = "/".join(sorted(_computed(model, compiled))) or f"{settings['config'].get(HINT, 'any type')} asked for"
        self.evaluator = f"OpenVINO {openvino.__version__.split('-')[0]} on {devices} ({types})"

    def run(self, feeds: Feeds) -> Outputs:
        """Returns every output by name for the inputs by name.

        Raises:
            RequestError: the feeds are not the inputs; OpenVINO runs without a missing one and casts a wrong type.
        """
        found = {name: str(value.dtype) for name, value in feeds.items()}
        if found != self._inputs:
            raise RequestError(f"expected the inputs {self._inputs}, found {found}")
        compiled = self._for(len(next(iter(feeds.values()))))
        try:
            results = compiled(dict(feeds))
        except RuntimeError as error:
            raise RequestError(f"expected inputs that the artifact takes, OpenVINO says: {_reason(error)}") from error
        return {name: results[port] for port in compiled.outputs for name in self._called(port)}

    def _called(self, port: Any) -> tuple[str, ...]:
        """Returns what an output is asked for by: a value that is shown has its layer's name beside others."""
        return tuple(port.get_names().intersection(self._shown)) or (port.get_any_name(),)

    def _for(self, batch: int) -> Any:
        """Returns what a batch size runs on, compiled when it is first asked for."""
        key = batch if batch in self._static else None
        if key not in self._compiled:
            self._compiled[key] = _compile(self._path, self._settings, key, self._shown)[1]
        return self._compiled[key]
