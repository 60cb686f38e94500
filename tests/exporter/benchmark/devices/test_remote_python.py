"""What bundles need elsewhere, and which targets go there."""

from pathlib import Path

import pytest

from slide_export.benchmark.devices import device_runner, remote_python
from slide_export.bundle import store
from slide_export.bundle.store import Bundle
from slide_export.core.errors import BackendUnavailable, RequestError


def test_what_is_needed_is_what_the_bundles_were_made_with(onnx_bundle: Bundle, openvino_bundle: Bundle) -> None:
    needed = remote_python.needs([onnx_bundle.manifest, openvino_bundle.manifest])
    assert [*needed] == ["numpy", "onnxruntime", "onnx", "onnx_ir", "openvino"]
    assert needed["onnxruntime"] == onnx_bundle.manifest.versions["onnxruntime"]


def test_a_distribution_is_found_by_its_published_name() -> None:
    kept = store.read(Path(__file__).parents[2] / "backends" / "litert" / "digits-litert-fp32").manifest
    needed = remote_python.needs([kept])
    assert needed == {"numpy": kept.versions["numpy"], "ai_edge_litert": kept.versions["ai-edge-litert"]}


def test_targets_without_a_runner_are_refused() -> None:
    able = ", ".join(device_runner.targets())
    with pytest.raises(BackendUnavailable, match=f"expected a target of {able} for a device, found tensorrt"):
        remote_python.portable("tensorrt")
    with pytest.raises(RequestError, match="expected a target of"):
        remote_python.portable("no such target")
