"""BOAT's golden cases through ONNX Runtime and OpenVINO: upstream's own logits, with no order taken into account."""

from pathlib import Path

import numpy as np
import pytest

from slide_export.backends import registry
from slide_export.backends.interface import LoweringOptions
from slide_export.core.artifact import ModelIO
from slide_export.core.precision import FP32
from slide_export.graph.export import export_module
from slide_export.inference.fuse import inference_form
from tests.models.test_systems_golden import NOISE_MULTIPLE, TOLERANCE, load

SLOW = [(name, target) for name in ("boat_swin", "boat_cswin") for target in ("onnx", "openvino")]


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("boat_swin_3", "onnx"),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in [("boat_swin_3", "openvino"), *SLOW]),
    ],
)
def test_logits_of_an_artifact_are_upstreams(name: str, target: str, tmp_path: Path) -> None:
    golden, model = load(name)  # its inputs have no keys that tie
    images = golden.inputs["input"]
    graph = export_module(inference_form(model), (images,), ("images",), ("logits",), dynamic=False)
    backend, io = registry.load(target), ModelIO(batch=len(images))
    made = backend.lower(graph, tmp_path, LoweringOptions(FP32, io, registry.complete_options(target, {})))
    found = backend.Session(made.path, made.settings).run({"images": images.numpy()})["logits"]
    expected = golden.outputs["logits"].astype(np.float64)
    error = float(np.abs(found - expected).max())
    assert error <= NOISE_MULTIPLE * golden.meta["noise_f32_vs_f64"]
    assert error <= TOLERANCE * expected.std()
