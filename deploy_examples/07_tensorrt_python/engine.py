"""A TensorRT engine: built from an ONNX graph, run, timed. The same code serves TensorRT and TensorRT for RTX."""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MODULES = ("tensorrt", "tensorrt_rtx")
NAMES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}


class NotHereError(Exception):
    """This machine lacks the runtime or the GPU."""


class BadInputError(Exception):
    """What was expected, what was found, what to do."""


def load_vendor() -> ModuleType:
    """The module of TensorRT, or of TensorRT for RTX where that is what is installed."""
    found = next((name for name in MODULES if importlib.util.find_spec(name)), None)
    if found is None:
        raise NotHereError(f"expected {' or '.join(MODULES)}, found neither: pip install tensorrt or tensorrt-rtx-cu13")
    return importlib.import_module(found)


def build(trt: Any, graph: bytes, batches: tuple[int, int, int], tf32: bool, timing_cache: Path | None) -> bytes:
    """The plan of a graph; needs no GPU with TensorRT for RTX, TensorRT times its kernels on one.

    Args:
        trt: what `load_vendor` found.
        graph: an ONNX file's bytes; its types are the engine's, for the network is strongly typed.
        batches: smallest, usual and largest batch, where it is dynamic.
        tf32: let float32 products round to 10 bits.
        timing_cache: a file that keeps kernel timings from build to build; TensorRT alone has one.
    """
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph):
        raise BadInputError(f"expected a graph that the parser takes, it says: {parser.get_error(0).desc()}")
    config = builder.create_builder_config()
    (config.set_flag if tf32 else config.clear_flag)(trt.BuilderFlag.TF32)  # on by default
    (fed,) = (network.get_input(index) for index in range(network.num_inputs))
    if fed.shape[0] == -1:
        profile = builder.create_optimization_profile()
        profile.set_shape(fed.name, *((batch, *tuple(fed.shape)[1:]) for batch in batches))
        config.add_optimization_profile(profile)
    if timing_cache is not None:
        known = timing_cache.read_bytes() if timing_cache.exists() else b""
        config.set_timing_cache(config.create_timing_cache(known), False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BadInputError("expected an engine, the builder gave up: its reason stands above")
    if timing_cache is not None:
        timing_cache.write_bytes(config.get_timing_cache().serialize())
    return bytes(plan)


def cuda() -> Any:
    """The bindings of the CUDA runtime, refused where there is no GPU that the driver can use."""
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise NotHereError(f"expected the CUDA bindings, {error}: pip install cuda-bindings") from error
    said, count = runtime.cudaGetDeviceCount()
    if said or not count:
        raise NotHereError(f"expected an NVIDIA GPU, found none: the driver says {said.name}")
    return runtime


class Engine:
    """A plan on the GPU. `bind` places a batch there, `run` computes, `outputs` brings the answers back."""

    def __init__(self, trt: Any, plan: bytes) -> None:
        self._trt, self._cuda = trt, cuda()
        self._buffers: dict[str, int] = {}  # addresses on the GPU
        self._blank: dict[str, Array] = {}  # outputs, to be filled
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))  # an engine does not keep its runtime alive
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise BadInputError("expected a plan of this GPU and this version, TensorRT refuses it: build it anew")
        self._context = self._engine.create_execution_context()
        self._stream = self._call("cudaStreamCreate")
        self._start, self._end = self._call("cudaEventCreate"), self._call("cudaEventCreate")
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self._outputs = [name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]
        device = self._call("cudaGetDeviceProperties", 0).name.decode().rstrip("\0")
        self.device, self.name = device, f"{NAMES[trt.__name__]} {trt.__version__} on {device}"

    def _call(self, function: str, *arguments: Any) -> Any:
        """What a function of the CUDA runtime returns beside its error."""
        error, *values = getattr(self._cuda, function)(*arguments)
        if error:
            raise RuntimeError(f"{function}: {error.name}")
        return values[0] if values else None

    def bind(self, feeds: dict[str, Array]) -> None:
        """Places inputs on the GPU, and makes room for the outputs.

        Raises:
            BadInputError: a shape is outside the profile that the engine was built for.
        """
        for buffer in self._buffers.values():
            self._call("cudaFree", buffer)
        self._buffers.clear()
        for name, values in feeds.items():
            if not self._context.set_input_shape(name, values.shape):
                raise BadInputError(f"expected {name} within the engine's profile, found {values.shape}")
            dense = np.ascontiguousarray(values)  # named, since its memory must outlive the copy
            self._place(name, dense.nbytes)
            self._copy(self._buffers[name], dense.ctypes.data, dense.nbytes, "HostToDevice")
        self._blank = {name: np.empty(self._shape(name), self._type(name)) for name in self._outputs}
        for name, values in self._blank.items():
            self._place(name, values.nbytes)

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._context.get_tensor_shape(name))

    def _type(self, name: str) -> Any:
        return self._trt.nptype(self._engine.get_tensor_dtype(name))

    def _place(self, name: str, size: int) -> None:
        self._buffers[name] = int(self._call("cudaMalloc", size))
        self._context.set_tensor_address(name, self._buffers[name])

    def _copy(self, target: int, source: int, size: int, way: str) -> None:
        self._call("cudaMemcpy", target, source, size, getattr(self._cuda.cudaMemcpyKind, f"cudaMemcpy{way}"))

    def run(self) -> float:
        """The milliseconds between two events around one call, on the GPU's own clock; copies are not in it."""
        self._call("cudaEventRecord", self._start, self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise RuntimeError("TensorRT did not start the engine: its reason stands above")
        self._call("cudaEventRecord", self._end, self._stream)
        self._call("cudaEventSynchronize", self._end)
        return float(self._call("cudaEventElapsedTime", self._start, self._end))

    def outputs(self) -> dict[str, Array]:
        """The answers of the last call, by name."""
        for name, values in self._blank.items():
            self._copy(values.ctypes.data, self._buffers[name], values.nbytes, "DeviceToHost")
        return {name: values.copy() for name, values in self._blank.items()}
