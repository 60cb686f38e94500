"""ONNX, run by ONNX Runtime."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from slide_export.backends.interface import LoweringOptions, Option
from slide_export.backends.profile import WARM, lines
from slide_export.core.artifact import Artifact, DtypeStats, Feeds, Outputs
from slide_export.core.errors import BundleError, RequestError
from slide_export.core.graph import OnnxGraph, Value
from slide_export.core.measurement import ModuleTime
from slide_export.core.plain_load import PlainLoad
from slide_export.core.stored import StoredConstant
from slide_export.core.text import foreign
from slide_export.graph import dtypes as onnx_dtypes
from slide_export.graph import stored as onnx_stored
from slide_export.graph import values as onnx_values
from slide_export.native.library import for_graph

from . import own_operator
from . import trace as onnx_trace
from .external import companions  # noqa: F401  # an optional part
from .lint import FACTS as LINT  # noqa: F401  # an optional part
from .own_operator import native_runtime  # noqa: F401  # an optional part
from .settings import refuse_settings  # noqa: F401  # an optional part

ACCEPTS = OnnxGraph
PRECISIONS = {"fp32": False, "fp16": True, "int8": True, "int8-dynamic": True, "w8": True}
DEFAULT_FORM = "wide_shifts"  # of the time of taps 0.87 with AVX2, where shifts has 0.74, and 0.91 with AVX-512: 1.21
SUPPRESSES = True
DISTRIBUTIONS = ("onnx", "onnx-ir", "onnxruntime", "onnxsim")
NATIVE_PRECISIONS = own_operator.PRECISIONS
OPTIONS: Mapping[str, Option] = {
    "spinning": Option(
        "on", "whether idle threads wait actively: fastest alone, slow beside other work", ("on", "off")
    ),
    own_operator.HEADERS: Option("", f"for --form native: the folder with {own_operator.HEADER} of 1.18 or newer"),
}
SPINNING = "session.intra_op.allow_spinning"  # a session's configuration entry of ONNX Runtime
RUNTIME = ("onnxruntime",)
DEVICE = ("numpy", "onnxruntime", "onnx", "onnx_ir")
LITERAL = "literal"
"""A setting of `Session`: compute between Q and DQ in float as the graph says, not with integer kernels, which overflow
on some CPUs; for a graph that another runtime's engine was built from."""
INTEGER = (
    "QGemm",
    "QLinearConv",
    "QLinearMatMul",
    "MatMulIntegerToFloat",
    "MatMulInteger",
    "ConvInteger",
    "DynamicQuantizeMatMul",
)
FLOAT = ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")


def lower(graph: OnnxGraph, directory: Path, options: LoweringOptions) -> Artifact:
    """Write `model.onnx`: one file, the same bytes for the same graph."""
    path, proto = directory / "model.onnx", graph.proto
    if options.precision.computes_integers:
        from slide_export.graph.passes.keep_float import keep_float

        proto = keep_float(proto)
    path.write_bytes(proto.SerializeToString(deterministic=True))
    spinning = "1" if options.options.get("spinning", OPTIONS["spinning"].default) == "on" else "0"
    settings = {"optimization": "all", "config": {SPINNING: spinning}}
    native = for_graph(graph, directory, partial(own_operator.native_runtime, options.options))
    if native is not None:
        settings["library"] = native.library
    return Artifact("onnx", options.precision, path, graph.inputs, graph.outputs, settings, native=native)


def dtype_stats(path: Path, settings: Mapping[str, Any]) -> DtypeStats:
    """Types of the initializers and, of each convolution and matrix product, of its first input.

    Where there are quantized products, ONNX Runtime is asked which of them it has a kernel for: it computes the others
    in float, between a DequantizeLinear and a QuantizeLinear.
    """
    import onnx

    stats = onnx_dtypes.count(onnx.load(path))
    return replace(stats, computed=_fused(path, settings), fixed=False) if stats.computed.get("int8") else stats


def _fused(path: Path, settings: Mapping[str, Any]) -> dict[str, int]:
    """Number of products in int8 and in float32 of the graph that ONNX Runtime makes of a quantized one."""
    import onnx

    with tempfile.TemporaryDirectory() as temporary:
        optimized = Path(temporary) / "optimized.onnx"
        options = _options({"library": settings.get("library")}, path)
        options.optimized_model_filepath = str(optimized)
        _open(path, options)
        kinds = Counter(node.op_type for node in onnx.load(optimized).graph.node)
    integer = sum(kinds[kind] for kind in INTEGER)
    return {"int8": integer, "float32": sum(kinds[kind] for kind in FLOAT)}


def stored(path: Path, settings: Mapping[str, Any]) -> Iterator[StoredConstant]:
    """Every weight, table, constant and attribute of the graph."""
    import onnx

    return onnx_stored.tensors(onnx.load(path))


def plain_load(path: Path, settings: Mapping[str, Any], proved: tuple[str, ...]) -> PlainLoad:
    """ONNX Runtime computes in the types that the graph says, at its own default level of optimization.

    The proof runs at that level, `ORT_ENABLE_ALL`; threads that spin or not change no value.
    """
    library, why = settings.get("library"), "the graph fixes each type, and the CPU provider keeps it"
    call = f'onnxruntime.InferenceSession("{path.name}")'
    if library:
        call = f'onnxruntime.InferenceSession("{path.name}", options) after {own_operator.call(library)}'
    if settings.get("optimization", "all") == "all":
        return PlainLoad(call, True, {}, f"{why}; it is optimized as in the proof (ORT_ENABLE_ALL)")
    level = f"ORT_ENABLE_{settings['optimization'].upper()}"
    return PlainLoad(call, False, {"graph_optimization_level": level}, "it is optimized with ORT_ENABLE_ALL")


def values(path: Path, settings: Mapping[str, Any]) -> tuple[Value, ...]:
    """Every value of the graph that depends on an input, in the order of execution."""
    import onnx

    return onnx_values.values(onnx.load(path))


def intermediates(path: Path, settings: Mapping[str, Any], names: Sequence[str]) -> "Session":
    """Open a session that gives these values beside the outputs, in float64."""
    import onnx

    return Session(onnx_values.beside(onnx.load(path), names).SerializeToString(), settings, beside=path)


def profile(path: Path, settings: Mapping[str, Any], feeds: Feeds, calls: int) -> tuple[ModuleTime, ...]:
    """Times of ONNX Runtime's profiler, node by node of the graph that it has optimized."""
    options = _options(settings, path)
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as scratch:
        options.profile_file_prefix = str(Path(scratch) / "trace")
        session = _open(path, options)
        for _ in range(WARM + calls):
            session.run(None, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text())
    return lines(onnx_trace.executed(events))


def _options(settings: Mapping[str, Any], artifact: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; they come back as exceptions too
    options.intra_op_num_threads = settings.get("threads", 0)  # 0: one a core
    level = settings.get("optimization", "all").upper()  # the blocked layout of convolutions is in "all" alone
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.__members__[f"ORT_ENABLE_{level}"]
    for name, value in settings.get("config", {}).items():
        options.add_session_config_entry(name, value)
    if settings.get(LITERAL):
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if settings.get("library"):
        own_operator.register(options, artifact)
    return options


def _open(path: Path | bytes, options: Any) -> Any:
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own classes, all straight below Exception
        name = path if isinstance(path, Path) else "the graph"
        raise BundleError(f"expected an ONNX model, ONNX Runtime cannot load {name}: {error}") from error


class Session:
    """An ONNX file, or its bytes, under ONNX Runtime's CPU provider.

    Args:
        beside: the file that bytes were made of, where a library may lie.
    """

    def __init__(self, path: Path | bytes, settings: Mapping[str, Any], beside: Path = Path()) -> None:
        import onnxruntime

        artifact = path if isinstance(path, Path) else beside
        options, literal = _options(settings, artifact), bool(settings.get(LITERAL))
        self._session = _open(path, options)
        self.evaluator = f"ONNX Runtime {onnxruntime.__version__} on CPU" + (", Q/DQ as written" if literal else "")

    def run(self, feeds: Feeds) -> Outputs:
        """Compute every output by name for the inputs by name.

        Raises:
            RequestError: the feeds are not the inputs.
            BundleError: an operator fails.
        """
        from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

        names = [output.name for output in self._session.get_outputs()]
        try:
            return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
        except (ValueError, InvalidArgument) as error:
            said = foreign(str(error), 300)
            raise RequestError(f"expected inputs that the artifact takes, ONNX Runtime says: {said}") from error
        except Exception as error:  # onnxruntime raises its own classes, all straight below Exception
            said = foreign(str(error), 300)
            raise BundleError(f"expected a graph that ONNX Runtime can run, it says: {said}") from error
