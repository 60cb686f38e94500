"""The ONNX backend: one deterministic file, a truthful census, sentences for errors."""

from pathlib import Path

import onnx
import pytest

from slide_export.backends import onnx as backend
from slide_export.backends.interface import LoweringOptions
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import BundleError
from slide_export.core.graph import OnnxGraph
from slide_export.core.model import Model
from slide_export.core.precision import FP32
from slide_export.graph import export as onnx_graph
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.inference.served import in_form


@pytest.fixture(scope="module")
def graph(model: Model) -> OnnxGraph:
    return onnx_graph.export(in_form(choose(fuse(model), "wide_shifts"), ModelIO()))


def test_the_file_is_the_graph(graph: OnnxGraph, tmp_path: Path) -> None:
    artifact = backend.lower(graph, tmp_path, LoweringOptions(FP32, ModelIO()))
    assert artifact.path == tmp_path / "model.onnx"
    assert onnx.load(artifact.path) == graph.proto


def test_census_counts_float32(graph: OnnxGraph, tmp_path: Path) -> None:
    path = backend.lower(graph, tmp_path, LoweringOptions(FP32, ModelIO())).path
    census = backend.dtype_stats(path, {})
    weights = sum(len(t.raw_data) for t in graph.proto.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
    heavy = sum(node.op_type in ("Conv", "Gemm", "MatMul") for node in graph.proto.graph.node)
    assert census.stored["float32"] == weights
    assert census.computed == {"float32": heavy}


def test_a_broken_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x00garbage")
    with pytest.raises(BundleError, match="ONNX Runtime cannot load"):
        backend.Session(tmp_path / "model.onnx", {})


def test_session_names_the_runtime(graph: OnnxGraph, tmp_path: Path) -> None:
    path = backend.lower(graph, tmp_path, LoweringOptions(FP32, ModelIO())).path
    assert backend.Session(path, {}).evaluator.startswith("ONNX Runtime 1.")


def test_settings_reach_the_runtime(graph: OnnxGraph, tmp_path: Path) -> None:
    artifact = backend.lower(graph, tmp_path, LoweringOptions(FP32, ModelIO(), {"spinning": "off"}))
    options = backend._options(artifact.settings, artifact.path)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.graph_optimization_level.name == "ORT_ENABLE_ALL"
