"""A small graph, and what makes an engine of it."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from slide_export.backends import registry as backends
from slide_export.backends import tensorrt
from slide_export.backends.interface import LoweringOptions
from slide_export.backends.tensorrt import sidecar
from slide_export.core.artifact import Artifact, ModelIO
from slide_export.core.graph import OnnxGraph
from slide_export.core.precision import precision_named
from slide_export.graph import export as onnx_graph

CHANNELS, SIDE = 64, 8

builds = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed: no engine is built"
)


def graph(
    batch: int | str = "batch", nodes: Sequence[onnx.NodeProto] = (), weights: dict[str, NDArray[Any]] | None = None
) -> OnnxGraph:
    """A convolution, a softmax over its channels and a product, or other nodes."""
    made = np.random.default_rng(0)
    weights = weights or {
        "w": made.normal(size=(CHANNELS, 3, 3, 3)).astype(np.float32),
        "v": made.normal(size=(CHANNELS, CHANNELS, 1, 1)).astype(np.float32),
    }
    nodes = nodes or (
        helper.make_node("Conv", ["images", "w"], ["a"], name="/first/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Softmax", ["a"], ["p"], name="/Softmax", axis=1),
        helper.make_node("Conv", ["p", "v"], ["logits"], name="/second/Conv"),
    )
    proto = helper.make_model(
        helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", onnx_graph.OPSET)],
        ir_version=8,
    )
    proto = onnx.shape_inference.infer_shapes(proto)
    return OnnxGraph(proto, onnx_graph.specs(proto.graph.input), onnx_graph.specs(proto.graph.output))


def lower(source: OnnxGraph, directory: Path, precision: str = "fp32", **options: str) -> Artifact:
    chosen = backends.complete_options("tensorrt", {"flavor": "rtx", **options})
    return tensorrt.lower(source, directory, LoweringOptions(precision_named(precision), ModelIO(), chosen))


def said_of(artifact: Artifact) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(artifact.path.with_name(sidecar.SIDECAR).read_text())
    return read
