"""What bundles need elsewhere, and which targets go there."""

import pytest

from slide_export.benchmark.devices import remote_python
from slide_export.bundle.store import Bundle
from slide_export.core.errors import BackendUnavailable, RequestError


def test_what_is_needed_is_what_the_bundles_were_made_with(onnx_bundle: Bundle, openvino_bundle: Bundle) -> None:
    needed = remote_python.needs([onnx_bundle.manifest, openvino_bundle.manifest])
    assert [*needed] == ["numpy", "onnxruntime", "onnx", "onnx_ir", "openvino"]
    assert needed["onnxruntime"] == onnx_bundle.manifest.versions["onnxruntime"]


def test_targets_without_a_runner_are_refused() -> None:
    with pytest.raises(BackendUnavailable, match="of executorch, onnx, openvino for a device, found tensorrt"):
        remote_python.portable("tensorrt")
    with pytest.raises(RequestError, match="expected a target of"):
        remote_python.portable("no such target")
