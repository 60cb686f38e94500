"""Manifests and bundles for tests: a small valid one, and altered ones whose hashes fit again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from slide_export.bundle import store
from slide_export.bundle.manifest import MANIFEST, REPORT, Manifest, load
from slide_export.bundle.records import (
    PRECISIONS,
    ArtifactRecord,
    CheckpointRecord,
    DtypeRecord,
    ModelRecord,
    OptionsRecord,
    ParityRecord,
    PreprocessingRecord,
)
from slide_export.bundle.store import Bundle
from slide_export.core.graph import TensorSpec
from slide_export.core.proof import Acceptance, OutputParity

OUTPUT = OutputParity("logits", 1e-6, 5e-7, 6e-7, 2e-6, 8e-7, 8e-6, 3.2e-6, 120.5, 0.999999)


def minimal(**changes: Any) -> Manifest:
    """A manifest whose parts fit each other, of an artifact `model.onnx`."""
    said: dict[str, Any] = {
        "name": "n",
        "target": "onnx",
        "precision": PRECISIONS["fp32"],
        "task": "classify",
        "artifact": ArtifactRecord("model.onnx", 7),
        "checkpoint": CheckpointRecord("n.pth", "0" * 64, "raw"),
        "model": ModelRecord("slide_swin", "slide_swin_tiny", (64, 64), 1000, {"num_classes": 2}),
        "options": OptionsRecord("taps", None, None, False, False, False),
        "inputs": (TensorSpec("images", "float32", ("batch", 3, 64, 64)),),
        "outputs": (TensorSpec("logits", "float32", ("batch", 2)),),
        "preprocessing": PreprocessingRecord(
            (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", False, 1.0, (64, 64), (64, 64), False
        ),
        "fusion": (),
        "parity": ParityRecord("a test", "photos", 2, (1, 2), (OUTPUT,), 1.0, (), Acceptance(4.0), 4.0, True),
        "dtype_stats": DtypeRecord({"float32": 28}, {"float32": 1}, "asked fp32"),
        "versions": {"slide-export": "0.1.0"},
    }
    return Manifest(**{**said, **changes})


def as_schema_1(path: Path) -> Path:
    """Write a bundle's manifest with the names of schema 1, which programs on devices read too."""
    content = json.loads((path / MANIFEST).read_text())
    content["options"]["lowering"] = content["options"].pop("form")
    content["census"] = content.pop("dtype_stats")
    new = ("task", "assumptions", "plain_load", "float_build")
    older = {name: value for name, value in content.items() if name not in new}
    older |= {"schema": 1, "precision": content["precision"]["name"]}
    del older["model"]["properties"]
    (path / MANIFEST).write_text(json.dumps(older))
    return path


def restate(path: Path, **changes: Any) -> Bundle:
    """Make the manifest and the hashes of a bundle fit its files again, so that the proof alone can tell."""
    manifest = replace(load(path).manifest, **changes)
    store.write(path, manifest, store.golden(Bundle(path, manifest)), (path / REPORT).read_text())
    return store.read(path)
