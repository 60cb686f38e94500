"""ONNX, run by ONNX Runtime."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slide_export import onnx_census, onnx_inside
from slide_export.backends import Value
from slide_export.errors import BundleError
from slide_export.types import Artifact, Census, Feeds, OnnxGraph, Option, Order, Outputs

ACCEPTS = OnnxGraph
PRECISIONS = ("fp32", "fp16")
PRECISION_IN_GRAPH = True
DISTRIBUTIONS = ("onnx", "onnxruntime", "onnxsim")
OPTIONS: Mapping[str, Option] = {}


def obstacle() -> str | None:
    """Returns None: ONNX Runtime's CPU provider runs wherever it installs."""
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


def values(path: Path, settings: Mapping[str, Any]) -> tuple[Value, ...]:
    """Returns every value of the graph that depends on an input, in the order of execution."""
    import onnx

    return onnx_inside.values(onnx.load(path))


def intermediates(path: Path, settings: Mapping[str, Any], names: Sequence[str]) -> "Session":
    """Returns a session that gives these values beside the outputs."""
    import onnx

    return Session(onnx_inside.showing(onnx.load(path), names).SerializeToString(), settings)


class Session:
    """An ONNX file, or its bytes, under ONNX Runtime's CPU provider."""

    def __init__(self, path: Path | bytes, settings: Mapping[str, Any]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        name = "a graph in memory" if isinstance(path, bytes) else str(path)
        options.log_severity_level = 3  # errors; they come back as exceptions too
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own classes, all straight below Exception
            raise BundleError(f"expected an ONNX model, ONNX Runtime cannot load {name}: {error}") from error
        self.evaluator = f"ONNX Runtime {onnxruntime.__version__} on CPU"

    def run(self, feeds: Feeds) -> Outputs:
        """Returns every output by name for the inputs by name."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
