"""ONNX, run by ONNX Runtime."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slide_export import onnx_census
from slide_export.errors import BundleError
from slide_export.measuring import onnx_trace
from slide_export.measuring.profile import WARM, lines
from slide_export.result import ModuleTime
from slide_export.types import Artifact, Census, Feeds, OnnxGraph, Option, Order, Outputs

ACCEPTS = OnnxGraph
PRECISIONS = ("fp32", "fp16")
PRECISION_IN_GRAPH = True
DISTRIBUTIONS = ("onnx", "onnxruntime", "onnxsim")
OPTIONS: Mapping[str, Option] = {}
RUNTIME = ("onnxruntime",)


def obstacle() -> str | None:
    """Returns None: ONNX Runtime's CPU provider runs wherever it installs."""
    return None


def stand_in() -> str | None:
    """Returns None: ONNX Runtime is what ships."""
    return None


def lower(graph: OnnxGraph, directory: Path, order: Order) -> Artifact:
    """Writes `model.onnx`: one file, the same bytes for the same graph."""
    path = directory / "model.onnx"
    path.write_bytes(graph.proto.SerializeToString(deterministic=True))
    return Artifact("onnx", order.precision, path, graph.inputs, graph.outputs)


def census(path: Path, settings: Mapping[str, Any]) -> Census:
    """Returns the types of the initializers and, of each convolution and matrix product, of its first input."""
    import onnx

    return onnx_census.count(onnx.load(path))


def profile(path: Path, settings: Mapping[str, Any], feeds: Feeds, calls: int) -> tuple[ModuleTime, ...]:
    """Returns the times of ONNX Runtime's profiler, node by node of the graph that it has optimized."""
    options = _options(settings)
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as scratch:
        options.profile_file_prefix = str(Path(scratch) / "trace")
        session = _open(path, options)
        for _ in range(WARM + calls):
            session.run(None, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text())
    return lines(onnx_trace.executed(events))


def _options(settings: Mapping[str, Any]) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; they come back as exceptions too
    options.intra_op_num_threads = settings.get("threads", 0)  # 0: one a core
    return options


def _open(path: Path, options: Any) -> Any:
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own classes, all straight below Exception
        raise BundleError(f"expected an ONNX model, ONNX Runtime cannot load {path}: {error}") from error


class Session:
    """An ONNX file under ONNX Runtime's CPU provider."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        import onnxruntime

        self._session = _open(path, _options(settings))
        self.evaluator = f"ONNX Runtime {onnxruntime.__version__} on CPU"

    def run(self, feeds: Feeds) -> Outputs:
        """Returns every output by name for the inputs by name."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
