"""TensorRT and TensorRT for RTX: one Python interface, one backend. An engine is built without a GPU, and runs on one.

Networks are strongly typed: TensorRT 11 has nothing else (its migration guide removes BuilderFlag.FP16 and INT8), 10.12
takes the flag. So the precision is what the ONNX graph says.

Beside the plan, a bare file that any TensorRT program loads, stand the graph that it was built from and a sidecar with
the recipe. Graph and recipe are the same for the same checkpoint. The plan is not: two builds of Slide-Swin-T by
tensorrt_rtx 1.7 on one machine differ, and `tensorrt` chooses kernels by timing them.
"""

import functools
import hashlib
import importlib
import importlib.metadata
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from slide_export.errors import BackendUnavailable, BundleError, LoweringError, RequestError
from slide_export.types import Artifact, Census, Feeds, OnnxGraph, Option, Order, Outputs

ACCEPTS = OnnxGraph
PRECISIONS = ("fp32", "fp16")
PRECISION_IN_GRAPH = True
PLAN, SIDECAR, GRAPH = "model.plan", "model.plan.json", "model.onnx"
REBUILD = "python -c \"from slide_export.backends import tensorrt; tensorrt.rebuild('.')\""
HEAVY = frozenset({"Conv", "Gemm", "MatMul"})

FLAVORS: Mapping[str, tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt_cu13", "tensorrt_cu12"),
    "rtx": ("tensorrt_rtx_cu13", "tensorrt_rtx_cu12", "tensorrt_rtx"),
}
"""The pip distributions of each flavor, any one of which brings its module."""
MODULES = {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}
NAMES = {"tensorrt": "TensorRT", "rtx": "TensorRT RTX"}

OPTIONS: Mapping[str, Option] = {
    "flavor": Option("auto", "which of the two, auto takes the installed one", ("auto", *FLAVORS)),
    "min_batch": Option("1", "smallest batch of the optimization profile"),
    "opt_batch": Option("1", "batch that the engine is tuned for"),
    "max_batch": Option("8", "largest batch of the optimization profile"),
    "tf32": Option("off", "let float32 products round to 10 bits", ("off", "on")),
    "version_compatible": Option("off", "run on later versions too; needs the lean runtime", ("off", "on")),
    "hardware": Option(
        "none", "GPUs beside this one (tensorrt alone)", ("none", "ampere_plus", "same_compute_capability")
    ),
    "compute_capability": Option("", "GPUs to build for, such as 86,89 (rtx alone); empty is 8.0 and later"),
    "workspace_mib": Option("", "limit of scratch memory while building; empty is the GPU's memory"),
    "timing_cache": Option("", "file that keeps kernel timings (tensorrt alone); empty keeps none"),
}

log = logging.getLogger(__name__)


def _installed(flavor: str) -> str | None:
    """Returns the distribution that is installed for a flavor, from package metadata alone."""
    for distribution in FLAVORS[flavor]:
        try:
            importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        return distribution
    return None


DISTRIBUTIONS = (
    _installed("tensorrt") or _installed("rtx") or FLAVORS["rtx"][0],
    "onnx",
    "onnxruntime",  # proves the graph that the engine is built from
    "onnxsim",
)


def obstacle() -> str | None:
    """Returns why no engine runs here, None where one can. Imports nothing heavy."""
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():  # dxg: WSL
        return "no NVIDIA GPU on this machine: engines are built here and run elsewhere"
    if importlib.metadata.version("torch").endswith("+cpu"):  # its CUDA build holds the buffers of a session
        return "this PyTorch is built without CUDA, which an engine's inputs and outputs need"
    return None


def lower(graph: OnnxGraph, directory: Path, order: Order) -> Artifact:
    """Writes the plan, the graph that it was built from and the sidecar.

    Raises:
        RequestError: an option does not fit the flavor, or is no number.
        BackendUnavailable: the asked flavor is not installed.
        LoweringError: the parser or the builder refuses the graph.
    """
    path = directory / PLAN
    source = graph.proto.SerializeToString(deterministic=True)
    (directory / GRAPH).write_bytes(source)
    options = {name: option.default for name, option in OPTIONS.items()} | dict(order.options)
    sidecar = _build(source, path, order.precision, options)
    settings = {"flavor": sidecar["flavor"], "tf32": options["tf32"] == "on"}
    return Artifact("tensorrt", order.precision, path, graph.inputs, graph.outputs, settings, directory / GRAPH)


def rebuild(directory: str | Path) -> Path:
    """Builds the plan anew from the graph and the recipe beside it, for the machine and the version that are here.

    Raises:
        BundleError: the graph is not the one that the sidecar names.
        LoweringError: see `lower`.
    """
    path = Path(directory) / PLAN
    recipe = _sidecar(path)
    _build(_checked(path, recipe, "graph"), path, recipe["precision"], recipe["options"])
    return path


def census(path: Path, settings: Mapping[str, Any]) -> Census:
    """Returns what the graph that the engine was built from stores and computes.

    The graph speaks for the engine because the network is strongly typed, and the sidecar's hashes tie the two. An
    engine's own inspector needs a GPU: `deserialize_cuda_engine` opens a CUDA stream (tensorrt_rtx 1.7, cudaError 35).
    What the builder itself said of the engine is in the sidecar, under `layers` and `memory`.

    Raises:
        BundleError: the plan or the graph is not the one of the sidecar.
    """
    import onnx

    sidecar = _sidecar(path)
    _checked(path, sidecar, "plan")
    proto = onnx.shape_inference.infer_shapes(onnx.load_from_string(_checked(path, sidecar, "graph")))
    types = {value.name: value.type.tensor_type.elem_type for value in (*proto.graph.value_info, *proto.graph.input)}
    stored: Counter[str] = Counter()
    for tensor in proto.graph.initializer:
        types[tensor.name] = tensor.data_type
        stored[str(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))] += len(tensor.raw_data)
    heavy = (types[node.input[0]] for node in proto.graph.node if node.op_type in HEAVY)
    return Census(dict(stored), dict(Counter(str(onnx.helper.tensor_dtype_to_np_dtype(kind)) for kind in heavy)))


class Session:
    """A plan on an NVIDIA GPU. PyTorch holds the buffers: it is installed anyway."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        sidecar = _sidecar(path)
        plan = _checked(path, sidecar, "plan")
        import torch

        reason = obstacle() or (None if torch.cuda.is_available() else "no CUDA driver that PyTorch can use")
        if reason is not None:
            raise BackendUnavailable(f"expected an NVIDIA GPU for {path}, found {reason}; run {GRAPH}, its graph")
        trt, messages = _vendor(sidecar["flavor"])
        self._torch, self._np_type = torch, trt.nptype
        self._runtime = trt.Runtime(messages)  # an engine does not keep its runtime alive
        if sidecar["options"]["version_compatible"] == "on":
            self._runtime.engine_host_code_allowed = True  # such a plan carries its own lean runtime
        messages.clear()
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            device = "{}.{}".format(*torch.cuda.get_device_capability())
            errors = [*_diagnosis(trt, self._runtime, plan), *messages.errors]
            raise BundleError(misfit(sidecar, trt.__version__, device, errors))
        self._context = self._engine.create_execution_context()
        self._profile = sidecar["profile"]
        self._names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self.evaluator = f"{NAMES[sidecar['flavor']]} {trt.__version__} on {torch.cuda.get_device_name()}"

    def run(self, feeds: Feeds) -> Outputs:
        """Returns every output by name for the inputs by name.

        Raises:
            RequestError: a shape is outside the optimization profile.
        """
        import numpy as np

        buffers = {name: self._torch.from_numpy(np.ascontiguousarray(value)).cuda() for name, value in feeds.items()}
        for name, value in feeds.items():
            if not self._context.set_input_shape(name, value.shape):
                raise RequestError(f"expected {name} within the profile {self._profile.get(name)}, found {value.shape}")
        outputs = [name for name in self._names if name not in feeds]
        for name in outputs:
            blank = np.empty(
                tuple(self._context.get_tensor_shape(name)), self._np_type(self._engine.get_tensor_dtype(name))
            )
            buffers[name] = self._torch.from_numpy(blank).cuda()
        for name, buffer in buffers.items():
            self._context.set_tensor_address(name, buffer.data_ptr())
        self._torch.cuda.synchronize()  # the copies ran on PyTorch's stream, the engine has its own
        stream = self._torch.cuda.Stream()
        if not self._context.execute_async_v3(stream.cuda_stream):
            raise BundleError("expected the engine to run, TensorRT refused to start it")
        stream.synchronize()
        return {name: buffers[name].cpu().numpy() for name in outputs}


def misfit(sidecar: Mapping[str, Any], version: str, device: str, errors: Iterable[str]) -> str:
    """Returns in one sentence why a plan does not load, and what to do.

    Args:
        version: of the TensorRT that was to load it.
        device: compute capability of the GPU that was to run it, "8.9".
        errors: what TensorRT said.
    """
    name, built, gpus = NAMES[sidecar["flavor"]], sidecar["version"], sidecar["compute_capabilities"]
    reasons = []
    if built != version:
        reasons.append(f"it was built by {name} {built} and this is {version}")
    if gpus and device not in gpus:
        reasons.append(f"it was built for GPUs of compute capability {', '.join(gpus)} and this one has {device}")
    reasons.extend(sentence(error) for error in [*errors][: 0 if reasons else 1])
    return (
        f"expected a plan that loads here, found one that does not: {' and '.join(reasons) or 'no reason given'}; "
        f"in its directory run {REBUILD}"
    )


def sentence(message: str) -> str:
    """Returns what a TensorRT message says, without its call sites."""
    lines = [line for line in message.splitlines() if line.strip() and "catchCudaError" not in line]
    text = re.sub(r"^\S+: Error Code \d+: ", "", lines[-1] if lines else "no reason given")
    return re.sub(r"\.? In \w+ at /\S+?:\d+", "", text).strip().rstrip(".")


def _diagnosis(trt: Any, runtime: Any, plan: bytes) -> list[str]:
    """Returns the reasons that TensorRT RTX reads from a plan's header; `tensorrt` has no such call."""
    if not hasattr(runtime, "get_engine_validity"):
        return []
    _, bits = runtime.get_engine_validity(plan)
    names = trt.EngineInvalidityDiagnostics.__members__.items()
    return [f"its header says {name.lower().replace('_', ' ')}" for name, value in names if bits & int(value)]


def _sidecar(path: Path) -> dict[str, Any]:
    place = path.with_name(SIDECAR)
    try:
        read: dict[str, Any] = json.loads(place.read_text())
    except (OSError, ValueError) as error:
        raise BundleError(f"expected the sidecar of {path} beside it, cannot read {place}: {error}") from error
    return read


def _checked(path: Path, sidecar: Mapping[str, Any], part: str) -> bytes:
    """Returns the bytes of the plan or of the graph, refused if they are not those that the sidecar was written for."""
    place = path.with_name(sidecar[part]["path"])
    try:
        data = place.read_bytes()
    except OSError as error:
        raise BundleError(f"expected {place}, cannot read it: {error}") from error
    if _sha256(data) != sidecar[part]["sha256"]:
        raise BundleError(f"expected the {part} that {SIDECAR} describes, {place} was altered: export it again")
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _build(source: bytes, path: Path, precision: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Writes the plan and its sidecar; returns the sidecar."""
    flavor = _flavor(options)
    _refuse_unfit(flavor, options)
    trt, messages = _vendor(flavor)
    messages.clear()
    builder = trt.Builder(messages)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(trt, network, source, messages, flavor)
    config = builder.create_builder_config()
    gpus = _configure(trt, config, flavor, options)
    profile = _profile(builder, network, config, options)
    monitor = _monitor(trt, log.info)  # named, since it must outlive the build
    config.progress_monitor = monitor
    cache = _open_cache(config, options["timing_cache"])
    messages.clear()
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        said = sentence(next(iter(messages.errors), "no reason given"))
        raise LoweringError(f"expected an engine, {NAMES[flavor]}'s builder says: {said}")
    if cache:
        cache.write_bytes(bytes(config.get_timing_cache().serialize()))
    data = bytes(plan)
    path.write_bytes(data)
    warnings = [sentence(message) for message in messages.warnings]
    for warning in warnings:
        log.warning("%s: %s", NAMES[flavor], warning)
    sidecar = {
        "flavor": flavor,
        "version": trt.__version__,
        "distribution": _installed(flavor),
        "precision": precision,
        "options": dict(options),
        "strongly_typed": True,
        "compute_capabilities": gpus,
        "hardware_compatibility": options["hardware"],
        "profile": profile,
        "plan": {"path": path.name, "sha256": _sha256(data), "bytes": len(data)},
        "graph": {"path": GRAPH, "sha256": _sha256(source), "bytes": len(source)},
        "layers": {"counted_in": "the typed network that was built", **_layers(network)},
        "memory": {"counted_by": "the builder", **messages.sizes},
        "warnings": warnings,
        "rebuild": REBUILD,
        "reproducible": "the graph and this recipe; the plan's bytes differ from build to build",
    }
    path.with_name(SIDECAR).write_text(json.dumps(sidecar, indent=2) + "\n")
    return sidecar


def _flavor(options: Mapping[str, str]) -> str:
    """Returns the flavor to use: the one asked for, else the one installed, `tensorrt` where both are."""
    asked = options["flavor"]
    found = [flavor for flavor in FLAVORS if _installed(flavor) and asked in ("auto", flavor)]
    if not found:
        wanted = FLAVORS["rtx" if asked == "auto" else asked][0]
        raise BackendUnavailable(f"expected {wanted} to build an engine, found it not installed: pip install {wanted}")
    return found[0]


def _refuse_unfit(flavor: str, options: Mapping[str, str]) -> None:
    """Refuses what the flavor would ignore: tensorrt_rtx 1.7 warns of both and goes on."""
    other = {"rtx": ("hardware", "timing_cache"), "tensorrt": ("compute_capability",)}[flavor]
    for name in other:
        if options[name] != OPTIONS[name].default:
            raise RequestError(f"expected no {name} for {NAMES[flavor]}, which has none; found {options[name]!r}")


@functools.cache
def _vendor(flavor: str) -> tuple[Any, Any]:
    """Returns the vendor's module and the one logger of this process.

    TensorRT keeps the logger that it got first and ignores later ones ("The logger passed into createInferBuilder
    differs from one already registered"), so there is one for good.
    """
    try:
        trt: Any = importlib.import_module(MODULES[flavor])
    except (ImportError, OSError) as error:  # OSError: a library of it is missing
        raise BackendUnavailable(f"expected {MODULES[flavor]} to import, it failed: {error}") from error

    class Messages(trt.ILogger):  # type: ignore[misc]  # trt is Any
        """What TensorRT says, by severity."""

        def __init__(self) -> None:
            super().__init__()
            self.clear()

        def clear(self) -> None:
            self.errors: list[str] = []
            self.warnings: list[str] = []
            self.sizes: dict[str, int] = {}

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)
            elif severity == trt.ILogger.WARNING:
                self.warnings.append(message)
            elif found := re.fullmatch(r"Total (Activation|Weights) Memory: (\d+) bytes", message):
                self.sizes[f"{found[1].lower()}_bytes"] = int(found[2])

    return trt, Messages()


def _monitor(trt: Any, tell: Callable[[str], None]) -> Any:
    """Returns a progress monitor that tells each phase as it begins."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # trt is Any
        """Tells phases by name; a step goes on unless it says False."""

        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, phase: str, _parent: str | None, steps: int) -> None:
            tell(f"{phase} ({steps} steps)")

        def phase_finish(self, phase: str) -> None:
            pass

        def step_complete(self, _phase: str, _step: int) -> bool:
            return True

    return Monitor()


def _parse(trt: Any, network: Any, source: bytes, messages: Any, flavor: str) -> None:
    parser = trt.OnnxParser(network, messages)
    if parser.parse(source):
        return
    error = parser.get_error(0)
    said = sentence(error.desc())
    if said == "false":  # what its checks of operators say (onnxOpCheckers.cpp)
        said = "it does not have this operator"
    place = f" at {error.node_operator()} {error.node_name()}".rstrip() if error.node_operator() else ""
    raise LoweringError(f"expected a graph for {NAMES[flavor]} {trt.__version__}, its parser stops{place}: {said}")


def _configure(trt: Any, config: Any, flavor: str, options: Mapping[str, str]) -> list[str]:
    """Sets the builder's flags and limits; returns the compute capabilities that were asked for, "8.6"."""
    for name, flag in (("tf32", "TF32"), ("version_compatible", "VERSION_COMPATIBLE")):
        (config.set_flag if options[name] == "on" else config.clear_flag)(getattr(trt.BuilderFlag, flag))
    if options["hardware"] != "none":
        config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, options["hardware"].upper())
    if options["workspace_mib"]:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _number("workspace_mib", options) << 20)
    if not options["compute_capability"]:
        return []
    known = {
        name.removeprefix("SM"): value for name, value in trt.ComputeCapability.__members__.items() if name[:2] == "SM"
    }
    asked = [part.strip() for part in options["compute_capability"].split(",")]
    if unknown := [part for part in asked if part not in known]:
        raise RequestError(f"expected compute_capability of {', '.join(known)}; found {', '.join(unknown)}")
    config.num_compute_capabilities = len(asked)
    for index, part in enumerate(asked):
        config.set_compute_capability(known[part], index)
    return [f"{part[:-1]}.{part[-1]}" for part in asked]


def _profile(builder: Any, network: Any, config: Any, options: Mapping[str, str]) -> dict[str, dict[str, list[int]]]:
    """Adds the optimization profile of the batch range; empty where the batch is fixed."""
    sizes = [_number(name, options) for name in ("min_batch", "opt_batch", "max_batch")]
    if sizes != sorted(sizes):
        raise RequestError(f"expected min_batch <= opt_batch <= max_batch, found {', '.join(map(str, sizes))}")
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    ranges = {
        each.name: [[size, *tuple(each.shape)[1:]] for size in sizes] for each in inputs if -1 in tuple(each.shape)
    }
    if ranges:
        profile = builder.create_optimization_profile()
        for name, shapes in ranges.items():
            profile.set_shape(name, *shapes)
        config.add_optimization_profile(profile)
    return {name: dict(zip(("min", "opt", "max"), shapes, strict=True)) for name, shapes in ranges.items()}


def _number(name: str, options: Mapping[str, str]) -> int:
    if not options[name].isdecimal() or int(options[name]) < 1:
        raise RequestError(f"expected {name} to be a whole number from 1 on, found {options[name]!r}")
    return int(options[name])


def _open_cache(config: Any, place: str) -> Path | None:
    """Gives the builder the timings of earlier builds; returns where to write them back."""
    if not place:
        return None
    path = Path(place)
    config.set_timing_cache(config.create_timing_cache(path.read_bytes() if path.exists() else b""), False)
    return path


def _layers(network: Any) -> dict[str, Any]:
    """Returns how many layers there are, and how many give which type."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    kinds = Counter(layer.get_output(0).dtype.name.lower() for layer in layers if layer.num_outputs)
    return {"count": len(layers), "by_type": dict(sorted(kinds.items()))}
