"""Bundles that were tampered with by somebody who also made the manifest fit."""

import json
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper
from safetensors import safe_open
from safetensors.numpy import save_file

from slide_export.core.files import sha256_of


def restate(bundle: Path, **changes: Any) -> Path:
    """Changes the manifest of a bundle so that it fits its files again, and returns the bundle."""
    path = bundle / "manifest.json"
    manifest = {**json.loads(path.read_text()), **changes}
    for name, said in manifest["files"].items():
        said["sha256"] = sha256_of(bundle / name)
    path.write_text(json.dumps(manifest))
    return bundle


def move_golden(bundle: Path) -> Path:
    """Moves one value of the reference by a thousandth."""
    path = bundle / "golden.safetensors"
    with safe_open(path, framework="numpy") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors["reference.logits"][0, 0] += 1e-3
    save_file(tensors, path, metadata)
    return restate(bundle)


def move_weight(bundle: Path) -> Path:
    """Moves one weight of the artifact's largest tensor by one percent of the largest there."""
    path = bundle / "model.onnx"
    model = onnx.load(path)
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = numpy_helper.to_array(largest).copy()
    values.flat[0] += 0.01 * abs(values).max()
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))
    onnx.save(model, path)
    return restate(bundle)
