"""From bundles to candidates: what a manifest says, and what does not fit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import slide_export
from slide_export.benchmark import bundles as benchmark
from slide_export.benchmark.plan import BenchPlan
from slide_export.bundle import store as bundle
from slide_export.bundle.store import Bundle
from slide_export.core.errors import BundleError, RequestError
from slide_export.core.files import sha256_of
from tests.bundles import restate


def test_the_subject_is_what_the_manifest_says(onnx_bundle: Bundle) -> None:
    found = benchmark._candidate(onnx_bundle, (1, 8))
    manifest = onnx_bundle.manifest
    assert found.subject.name == manifest.name
    assert found.subject.image_size == (64, 64)
    assert found.subject.parameters == manifest.model.parameters
    assert found.subject.classes == manifest.model.config["num_classes"]
    assert found.subject.macs == manifest.model.macs > 0
    assert found.subject.parity == json.loads((onnx_bundle.path / "manifest.json").read_text())["parity"]
    assert found.subject.manifest_sha256 == sha256_of(onnx_bundle.path / "manifest.json")
    assert found.path == onnx_bundle.path / "model.onnx"
    assert found.feeds["images"].shape == (2, 3, 64, 64)


def test_another_batch_than_the_fixed_one_is_refused(onnx_bundle: Bundle, tmp_path: Path) -> None:
    fixed = Path(shutil.copytree(onnx_bundle.path, tmp_path / "fixed"))
    restate(fixed, options=replace(onnx_bundle.manifest.options, batch=2))
    assert benchmark._candidate(bundle.read(fixed), (2,)).path == fixed / "model.onnx"
    with pytest.raises(RequestError, match="add batches 2"):
        slide_export.bench([fixed], batches=(1, 2))


def test_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected a bundle"):
        benchmark.bench([tmp_path], BenchPlan(rounds=1, calls=1, threads=1))


def test_recommend_reads_each_bundle_once(
    onnx_bundle: Bundle, openvino_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [onnx_bundle.path, openvino_bundle.path]
    opened: list[Path] = []

    def counted(path: Path) -> Bundle:
        opened.append(path)
        return real(path)

    def stopped(*_: object) -> None:
        raise RequestError("read, not measured")

    real = bundle.read
    monkeypatch.setattr(bundle, "read", counted)
    monkeypatch.setattr(benchmark, "measure", stopped)
    with pytest.raises(RequestError, match="read, not measured"):
        slide_export.recommend(paths)
    assert opened == paths
