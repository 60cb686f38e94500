"""TensorRT and TensorRT for RTX: one Python interface, one backend. An engine is built without a GPU, and runs on one.

Networks are strongly typed: TensorRT 11 has nothing else (its migration guide removes BuilderFlag.FP16 and INT8), 10.12
takes the flag. So the precision is what the ONNX graph says.

Beside the plan, a bare file that any TensorRT program loads, stand the graph that it was built from and a sidecar with
the recipe. Graph and recipe are the same for the same checkpoint. The plan is not: two builds of Slide-Swin-T by
tensorrt_rtx 1.7 on one machine differ, and `tensorrt` chooses kernels by timing them.
"""

import importlib.metadata
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from slide_export.backends.interface import LoweringOptions, Option
from slide_export.core.artifact import Artifact, DtypeStats, Feeds, Outputs
from slide_export.core.errors import BackendUnavailable, BundleError, RequestError, option
from slide_export.core.graph import OnnxGraph, Value
from slide_export.core.measurement import ModuleTime
from slide_export.core.plain_load import PlainLoad
from slide_export.core.precision import BF16
from slide_export.core.stored import StoredConstant
from slide_export.graph import dtypes as onnx_dtypes
from slide_export.graph import stored as onnx_stored
from slide_export.graph import values as onnx_values

from . import builder, sidecar, vendor
from .lint import FACTS as LINT  # noqa: F401  # an optional part
from .settings import refuse_settings  # noqa: F401  # an optional part
from .sidecar import companions  # noqa: F401  # an optional part

ACCEPTS = OnnxGraph
PRECISIONS = {"fp32": False, "fp16": True, "bf16": True, "int8": True}
DEFAULT_FORM = "grouped"  # not timed; builds in half the time of taps
DISTRIBUTIONS = (
    vendor.DISTRIBUTIONS,
    "onnx",
    "onnx-ir",
    "onnxruntime",  # proves the graph that the engine is built from
    "onnxsim",
)
OPTIONS: Mapping[str, Option] = {
    "flavor": Option("auto", "which of the two, auto takes the installed one", ("auto", *vendor.FLAVORS)),
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
RUNTIME = ("torch",)  # the vendor's own comes with the flavor that the plan names
# DEVICE: none; an engine is built for its GPU: deploy_examples/07_tensorrt_python does it there


def unavailable_reason() -> str | None:
    """Why no engine runs here, None where one can. Imports nothing heavy."""
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():  # dxg: WSL
        return "no NVIDIA GPU on this machine"
    if importlib.metadata.version("torch").endswith("+cpu"):  # its CUDA build holds the buffers of a session
        return "this PyTorch is built without CUDA, which an engine's inputs and outputs need"
    return None


def precision_obstacle(precision: str) -> str | None:
    """Why nothing here can prove a precision, None where the engine runs, or ONNX Runtime runs its graph.

    ONNX Runtime 1.32 has no bfloat16 convolution or matrix product on a CPU.
    """
    reason = unavailable_reason() if precision == BF16.name else None
    if reason is None:
        return None
    return (
        f"an engine cannot run ({reason}) and ONNX Runtime has no bfloat16 operators to prove its graph with: export "
        "it where the GPU is, or take fp16"
    )


def lower(graph: OnnxGraph, directory: Path, options: LoweringOptions) -> Artifact:
    """Write the plan, the graph that it was built from and the sidecar.

    Raises:
        RequestError: an option does not fit the flavor, or is no number.
        BackendUnavailable: the asked flavor is not installed.
        LoweringError: the parser or the builder refuses the graph.
    """
    path = directory / sidecar.PLAN
    source = graph.proto.SerializeToString(deterministic=True)
    (directory / sidecar.GRAPH).write_bytes(source)
    chosen = {name: option.default for name, option in OPTIONS.items()} | dict(options.options)
    said = _build(source, path, options.precision.name, chosen)
    settings = {"flavor": said["flavor"], "tf32": chosen["tf32"] == "on"}
    return Artifact(
        "tensorrt", options.precision, path, graph.inputs, graph.outputs, settings, directory / sidecar.GRAPH
    )


def rebuild(directory: str | Path) -> Path:
    """Rebuild the plan from the graph and the recipe beside it, for the machine and the version that are here.

    Raises:
        BundleError: the graph is not the one that the sidecar names.
        LoweringError: see `lower`.
    """
    path = Path(directory) / sidecar.PLAN
    recipe = sidecar.read(path)
    _build(sidecar.checked(path, recipe, "graph"), path, recipe["precision"], recipe["options"])
    return path


def dtype_stats(path: Path, settings: Mapping[str, Any]) -> DtypeStats:
    """Types that the graph that the engine was built from stores and computes in.

    The graph speaks for the engine because the network is strongly typed, and the sidecar's hashes tie the two. An
    engine's own inspector needs a GPU: `deserialize_cuda_engine` opens a CUDA stream (tensorrt_rtx 1.7, cudaError 35).
    What the builder itself said of the engine is in the sidecar, under `layers` and `memory`.

    Raises:
        BundleError: the plan or the graph is not the one of the sidecar.
    """
    import onnx

    said = sidecar.read(path)
    sidecar.checked(path, said, "plan")
    return onnx_dtypes.count(onnx.load_from_string(sidecar.checked(path, said, "graph")))


def profile(path: Path, settings: Mapping[str, Any], feeds: Feeds, calls: int) -> tuple[ModuleTime, ...]:
    """Refuse: TensorRT's `IProfiler` answers on a GPU alone, where this was never tried.

    Raises:
        RequestError: always.
    """
    raise RequestError(
        f"expected no {option('profile')} for {path}: engines are timed whole; NVIDIA's trtexec times their layers"
    )


def stored(path: Path, settings: Mapping[str, Any]) -> Iterator[StoredConstant]:
    """What the graph that the engine was built from stores; an engine's own weights cannot be read.

    Raises:
        BundleError: the graph is not the one of the sidecar.
    """
    import onnx

    return onnx_stored.tensors(onnx.load_from_string(sidecar.checked(path, sidecar.read(path), "graph")))


def plain_load(path: Path, settings: Mapping[str, Any], proved: tuple[str, ...]) -> PlainLoad:
    """An engine computes as it was built: strongly typed, TF32 a flag of the builder."""
    tf32 = "with TF32, so float32 products round to 10 bits" if settings.get("tf32") else "without TF32"
    why = f"types and kernels are fixed in the plan, built {tf32}"
    return PlainLoad("runtime.deserialize_cuda_engine(plan)", True, {}, why)


def values(path: Path, settings: Mapping[str, Any]) -> tuple[Value, ...]:
    """Every value of the graph that the engine was built from.

    Raises:
        BundleError: the graph is not the one of the sidecar.
    """
    import onnx

    return onnx_values.values(onnx.load_from_string(sidecar.checked(path, sidecar.read(path), "graph")))


def intermediates(path: Path, settings: Mapping[str, Any], names: Sequence[str]) -> "Session":
    """Open a session of an engine built for it, from the same graph and recipe with these values as outputs.

    Never run so far, for want of a GPU: the tests build the engine.

    Raises:
        BackendUnavailable: there is no GPU here.
    """
    with tempfile.TemporaryDirectory() as directory:
        return Session(build_showing(path, names, Path(directory)), settings)


def build_showing(path: Path, names: Sequence[str], directory: Path) -> Path:
    """Build an engine that gives these values too, into a directory; gives its plan.

    Raises:
        BundleError: the graph is not the one of the sidecar.
        LoweringError: see `lower`.
    """
    import onnx

    said = sidecar.read(path)
    shown = onnx_values.showing(onnx.load_from_string(sidecar.checked(path, said, "graph")), names)
    source = shown.SerializeToString(deterministic=True)
    (directory / sidecar.GRAPH).write_bytes(source)
    _build(source, directory / sidecar.PLAN, said["precision"], said["options"])
    return directory / sidecar.PLAN


class Session:
    """A plan on an NVIDIA GPU. PyTorch holds the buffers: it is installed anyway."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        said = sidecar.read(path)
        plan = sidecar.checked(path, said, "plan")
        import torch

        reason = unavailable_reason() or (None if torch.cuda.is_available() else "no CUDA driver that PyTorch can use")
        if reason is not None:
            raise BackendUnavailable(
                f"expected an NVIDIA GPU for {path}, found {reason}; run {sidecar.GRAPH}, its graph"
            )
        trt, messages = vendor.load(said["flavor"])
        self._torch, self._np_type = torch, trt.nptype
        self._runtime = trt.Runtime(messages)  # an engine does not keep its runtime alive
        if said["options"]["version_compatible"] == "on":
            self._runtime.engine_host_code_allowed = True  # such a plan carries its own lean runtime
        messages.clear()
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            device = "{}.{}".format(*torch.cuda.get_device_capability())
            errors = [*_diagnosis(trt, self._runtime, plan), *messages.errors]
            raise BundleError(sidecar.misfit(said, trt.__version__, device, errors))
        self._context = self._engine.create_execution_context()
        self._profile = said["profile"]
        self._names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self.evaluator = f"{vendor.NAMES[said['flavor']]} {trt.__version__} on {torch.cuda.get_device_name()}"

    def run(self, feeds: Feeds) -> Outputs:
        """Compute every output by name for the inputs by name.

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


def _build(source: bytes, path: Path, precision: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Write the plan and its sidecar; gives the sidecar."""
    flavor = vendor.choose(options["flavor"])
    _refuse_unfit(flavor, options)
    return builder.build(flavor, source, path, precision, options)


def _refuse_unfit(flavor: str, options: Mapping[str, str]) -> None:
    """Refuse what the flavor would ignore: tensorrt_rtx 1.7 warns of both and goes on."""
    other = {"rtx": ("hardware", "timing_cache"), "tensorrt": ("compute_capability",)}[flavor]
    for name in other:
        if options[name] != OPTIONS[name].default:
            raise RequestError(
                f"expected no {name} for {vendor.NAMES[flavor]}, which has none; found {options[name]!r}"
            )


def _diagnosis(trt: Any, runtime: Any, plan: bytes) -> list[str]:
    """Reasons that TensorRT RTX reads from a plan's header; `tensorrt` has no such call."""
    if not hasattr(runtime, "get_engine_validity"):
        return []
    _, bits = runtime.get_engine_validity(plan)
    names = trt.EngineInvalidityDiagnostics.__members__.items()
    return [f"its header says {name.lower().replace('_', ' ')}" for name, value in names if bits & int(value)]
