"""A bundle of slide-export: its manifest, its golden arrays, its graph, and the proof that an engine is the model."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from engine import Array, BadInputError, Engine

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "U8": "u1", "I64": "<i8"}  # of safetensors


def read_bundle(bundle: Path) -> tuple[dict[str, Any], dict[str, Array], bytes]:
    """The manifest, the golden arrays by name, and the graph."""
    try:
        manifest = json.loads((bundle / "manifest.json").read_text())
        golden = read_safetensors((bundle / "golden.safetensors").read_bytes())
        if manifest["target"] != "tensorrt":
            raise BadInputError(
                f"expected a bundle for tensorrt, {bundle} is for {manifest['target']}: export with --target tensorrt"
            )
        return manifest, golden, (bundle / manifest["artifact"]["graph"]).read_bytes()
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise BadInputError(f"expected a bundle of slide-export at {bundle}, cannot read it: {error}") from error


def read_safetensors(data: bytes) -> dict[str, Array]:
    """The arrays of a safetensors file: eight bytes of length, a header in JSON, the raw values."""
    (length,) = struct.unpack_from("<Q", data)
    header, values = json.loads(data[8 : 8 + length]), data[8 + length :]
    return {
        name: np.frombuffer(values[slice(*entry["data_offsets"])], TYPES[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def images_of(manifest: dict[str, Any], golden: dict[str, Array], batch: int, first: int = 0) -> dict[str, Array]:
    """A batch of golden images by the input's name, from the first one on and round again."""
    (name,) = (each["name"] for each in manifest["inputs"])
    images = golden[f"input.{name}"]
    return {name: images[np.arange(first, first + batch) % len(images)]}


def check(engine: Engine, manifest: dict[str, Any], golden: dict[str, Array], batch: int) -> bool:
    """Whether the engine gives what the trained model gave for the golden images; by how much is printed."""
    count = len(next(iter(golden.values())))
    answers: dict[str, list[Array]] = {}
    for first in range(0, count, batch):
        engine.bind(images_of(manifest, golden, batch, first))
        engine.run()
        for name, values in engine.outputs().items():
            answers.setdefault(name, []).append(values)
    passed = True
    for limit in manifest["parity"]["outputs"]:
        error = np.abs(np.concatenate(answers[limit["name"]])[:count] - golden[f"reference.{limit['name']}"])
        largest, rms = float(error.max()), float(np.sqrt(np.square(error).mean()))
        equal = largest <= limit["limit_max"] and rms <= limit["limit_rms"]  # NaN is not
        passed &= equal
        print(
            f"{'✓ proved equal' if equal else '✗ NOT equal'} to the trained model on {count} images ({engine.name}): "
            f"{limit['name']} differ by {largest:.1e} of {limit['limit_max']:.1e} allowed, "
            f"rms {rms:.1e} of {limit['limit_rms']:.1e}"
        )
    return passed
