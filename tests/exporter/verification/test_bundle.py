"""A bundle is proved again from itself, and an altered one is not."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from slide_export.backends import registry as backends
from slide_export.bundle.store import Bundle
from slide_export.calibration.recipe import default, dump
from slide_export.core.errors import BundleError, ParityError
from slide_export.core.request import ExportRequest
from slide_export.verification import bundle as verification
from slide_export.workflows import export as pipeline


@pytest.fixture(scope="module")
def made(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return pipeline.export(ExportRequest(checkpoint, out=tmp_path_factory.mktemp("out")))


def rehash(bundle: Path) -> None:
    """Makes a manifest agree with altered files, so that only the proof itself can tell."""
    from slide_export.bundle import store as bundles

    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"] = bundles._hashes(bundle)
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_verify_needs_the_bundle_alone(made: Bundle, checkpoint: Path) -> None:
    alone, against = verification.verify(made.path), verification.verify(made.path, checkpoint)
    assert alone.passed
    assert alone == against


def test_a_file_that_the_manifest_does_not_list_is_no_part_of_the_proof(made: Bundle, tmp_path: Path) -> None:
    copied = tmp_path / "bundle"
    shutil.copytree(made.path, copied)
    (copied / "quantization.yaml").write_text(dump(default("onnx", "int8"), "stray", "onnx"))
    assert verification.verify(copied) == verification.verify(made.path)


@pytest.mark.parametrize("reduced", [True, False])
def test_what_auto_came_to_is_taken_from_the_manifest(reduced: bool, tmp_path: Path) -> None:
    (tmp_path / "quantization.yaml").write_text(dump(default("onnx", "int8"), "digits", "onnx"))
    manifest = {"files": {"quantization.yaml": {}}, "quantization": {"reduced_range": reduced}}
    found = verification.quantization_of(Bundle(tmp_path, manifest))
    assert found is not None
    assert found.reduced is reduced


def test_verify_refuses_another_checkpoint(made: Bundle, checkpoint: Path, tmp_path: Path) -> None:
    other = torch.load(checkpoint)
    other["model"]["head.bias"] += 1e-3
    torch.save(other, tmp_path / "other.pth")
    with pytest.raises(BundleError, match="made from another file"):
        verification.verify(made.path, tmp_path / "other.pth")


def test_one_changed_weight_in_the_artifact_fails_the_proof(checkpoint: Path, tmp_path: Path) -> None:
    bundle = pipeline.export(ExportRequest(checkpoint, out=tmp_path)).path
    proto = onnx.load(bundle / "model.onnx")
    tensor = next(item for item in proto.graph.initializer if item.name == "layers.3.blocks.0.mlp.fc1.bias")
    values = numpy_helper.to_array(tensor).copy()
    values[np.abs(values).argmax()] *= 1.01
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(proto, bundle / "model.onnx")
    with pytest.raises(BundleError, match="it was altered"):
        verification.verify(bundle)
    rehash(bundle)
    with pytest.raises(ParityError, match="the artifact is not the model"):
        verification.verify(bundle)


@pytest.mark.parametrize(
    ("target", "weights"), [("openvino", "model.bin"), ("coreml", "weight.bin"), ("onnx", "model.onnx")]
)
def test_one_changed_weight_in_any_artifact_fails_even_with_new_hashes(
    target: str, weights: str, checkpoint: Path, tmp_path: Path
) -> None:
    """Changes one weight where the artifact stores it: the file stays readable."""
    if not backends.availability(target).ready:
        pytest.skip(f"{target} is not installed")
    bundle = pipeline.export(ExportRequest(checkpoint, target=target, out=tmp_path, image_count=2)).path
    (file,) = bundle.rglob(weights)
    data = bytearray(file.read_bytes())
    state = torch.load(checkpoint)["model"]["layers.3.blocks.0.mlp.fc2.weight"].numpy()
    rows = (np.ascontiguousarray(array)[0, :8].tobytes() for array in (state, state.T))  # stored either way round
    at = next(place for row in rows if (place := data.find(row)) > 0)
    data[at : at + 4] = np.float32(1.0).tobytes()
    file.write_bytes(bytes(data))
    rehash(bundle)
    with pytest.raises(ParityError, match="the artifact is not the model"):
        verification.verify(bundle)
