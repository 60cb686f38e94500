"""From bundles to candidates: what a manifest says, and what does not fit."""

import json
import shutil
from pathlib import Path

import pytest

import slide_export
from slide_export.benchmark import bundles as benchmark
from slide_export.benchmark import rounds as latency
from slide_export.bundle import store as bundle
from slide_export.bundle.store import Bundle
from slide_export.core.errors import BundleError, RequestError
from slide_export.core.files import sha256_of


def test_the_subject_is_what_the_manifest_says(onnx_bundle: Bundle) -> None:
    found = benchmark._candidate(onnx_bundle, (1, 8))
    manifest = onnx_bundle.manifest
    assert found.subject.name == manifest["name"]
    assert found.subject.image_size == (64, 64)
    assert found.subject.parameters == manifest["model"]["parameters"]
    assert found.subject.classes == manifest["model"]["config"]["num_classes"]
    assert found.subject.macs == manifest["model"]["macs"] > 0
    assert found.subject.parity == manifest["parity"]
    assert found.subject.manifest_sha256 == sha256_of(onnx_bundle.path / "manifest.json")
    assert found.path == onnx_bundle.path / "model.onnx"
    assert found.feeds["images"].shape == (2, 3, 64, 64)


def test_another_batch_than_the_fixed_one_is_refused(onnx_bundle: Bundle, tmp_path: Path) -> None:
    fixed = Path(shutil.copytree(onnx_bundle.path, tmp_path / "fixed"))
    options = {**onnx_bundle.manifest["options"], "batch": 2}
    (fixed / "manifest.json").write_text(json.dumps({**onnx_bundle.manifest, "options": options}))
    assert benchmark._candidate(bundle.read(fixed), (2,)).path == fixed / "model.onnx"
    with pytest.raises(RequestError, match="add --batch 2"):
        slide_export.bench([fixed], batches=(1, 2))


def test_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected a bundle"):
        benchmark.bench([tmp_path], latency.plan(1, 1, 1))
