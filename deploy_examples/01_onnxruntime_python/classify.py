"""Images in, top-5 out: a bundle of slide-export under ONNX Runtime.

    python classify.py BUNDLE IMAGE...
    python classify.py BUNDLE --check

It first proves itself: the artifact, as this machine runs it, against the trained model's own outputs, which the bundle
carries. Exit codes: 0 done, 1 not equal to the trained model, 2 bad input, 3 ONNX Runtime is not installed.
"""

import argparse
import json
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Array = NDArray[Any]
Run = Callable[[Array], list[Array]]  # one batch in, every output of the manifest

TARGET = "onnx"
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "U8": "u1", "I64": "<i8"}  # of safetensors
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
TOP = 5


class BadInputError(Exception):
    """What was expected, what was found, what to do."""


def open_session(bundle: Path, manifest: dict[str, Any]) -> tuple[Run, str]:
    """What runs one batch, started with the settings that the bundle was proved with, and its name."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime would write an id of this device below the home directory
    import onnxruntime

    artifact = manifest["artifact"]
    settings, options = artifact["settings"], onnxruntime.SessionOptions()
    level = f"ORT_ENABLE_{settings['optimization'].upper()}"
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    for name, value in settings["config"].items():
        options.add_session_config_entry(name, value)
    try:
        if "library" in settings:  # of form native: code that came with the bundle
            options.register_custom_ops_library(str((bundle / Path(settings["library"]).name).resolve()))
        session = onnxruntime.InferenceSession(bundle / artifact["path"], options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises its own classes, all straight below Exception
        raise BadInputError(f"expected an artifact that ONNX Runtime loads, it says: {error}") from error
    (fed,), names = manifest["inputs"], [output["name"] for output in manifest["outputs"]]
    return lambda images: session.run(names, {fed["name"]: images}), f"ONNX Runtime {onnxruntime.__version__}"


def read_bundle(bundle: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The manifest, and the golden arrays by name."""
    try:
        manifest = json.loads((bundle / "manifest.json").read_text())
        golden = read_safetensors((bundle / "golden.safetensors").read_bytes())
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise BadInputError(f"expected a bundle of slide-export at {bundle}, cannot read it: {error}") from error
    if manifest["target"] != TARGET:
        raise BadInputError(
            f"expected a bundle for {TARGET}, {bundle} is for {manifest['target']}: export with --target {TARGET}"
        )
    return manifest, golden


def read_safetensors(data: bytes) -> dict[str, Array]:
    """The arrays of a safetensors file: eight bytes of length, a header in JSON, the raw values."""
    (length,) = struct.unpack_from("<Q", data)
    header, values = json.loads(data[8 : 8 + length]), data[8 + length :]
    return {
        name: np.frombuffer(values[slice(*entry["data_offsets"])], TYPES[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def prepare(path: Path, how: dict[str, Any]) -> Array:
    """An image as the model takes it: float32 [1, 3, H, W], or uint8 [1, H, W, 3] where the model normalises.

    Args:
        path: the image.
        how: the manifest's "preprocessing".
    """
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file).convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise BadInputError(f"expected an image, {path} cannot be decoded: {error}") from error
    (rows, cols), (height, width) = how["resize"], how["crop"]
    if how["keep_aspect"]:
        factor = max(rows / picture.height, cols / picture.width)
        rows, cols = max(rows, int(picture.height * factor)), max(cols, int(picture.width * factor))
    picture = picture.resize((cols, rows), FILTERS[how["interpolation"]])
    top, left = round((rows - height) / 2), round((cols - width) / 2)
    pixels = np.asarray(picture.crop((left, top, left + width, top + height)))[None]
    if how["embedded"]:
        return pixels
    mean, std = np.float32(how["mean"]), np.float32(how["std"])
    return np.ascontiguousarray(((pixels.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2))


def run_all(run: Run, images: Array, batch: int) -> list[Array]:
    """The outputs for any number of images; the last batch is filled up with the first images."""
    order = np.arange(-(-len(images) // batch) * batch) % len(images)
    parts = [run(np.ascontiguousarray(images[order[start : start + batch]])) for start in range(0, len(order), batch)]
    return [np.concatenate(column)[: len(images)] for column in zip(*parts, strict=True)]


def check(run: Run, manifest: dict[str, Any], golden: dict[str, Array], runtime: str) -> bool:
    """Whether the artifact gives what the trained model gave for the golden images; by how much is printed."""
    images = golden[f"input.{manifest['inputs'][0]['name']}"]
    passed = True
    for limit, found in zip(manifest["parity"]["outputs"], run_all(run, images, size_of(manifest)), strict=True):
        error = np.abs(found - golden[f"reference.{limit['name']}"])
        largest, rms = float(error.max()), float(np.sqrt(np.square(error).mean()))
        equal = largest <= limit["limit_max"] and rms <= limit["limit_rms"]  # NaN is not
        passed &= equal
        print(
            f"{'✓ proved equal' if equal else '✗ NOT equal'} to the trained model on {len(images)} images ({runtime}): "
            f"{limit['name']} differ by {largest:.1e} of {limit['limit_max']:.1e} allowed, "
            f"rms {rms:.1e} of {limit['limit_rms']:.1e}"
        )
    return passed


def size_of(manifest: dict[str, Any]) -> int:
    """The images of a call: the fixed batch, or one."""
    return manifest["options"]["batch"] or 1


def show(path: Path, scores: Array, manifest: dict[str, Any]) -> None:
    """Print the likeliest classes of one image; `scores` are logits or probabilities, [classes]."""
    exponents = np.exp(scores.astype(np.float64) - scores.max())
    shares = scores if manifest["options"]["softmax"] else exponents / exponents.sum()
    labels = manifest["labels"] or [f"class {index}" for index in range(len(shares))]
    print(path)
    for index in np.argsort(-shares, kind="stable")[:TOP]:
        print(f"{shares[index]:8.1%}  {labels[index]}")


def classify(bundle: Path, paths: list[Path]) -> int:
    """The exit code of a check and, where it passes, of the answers for these images."""
    manifest, golden = read_bundle(bundle)
    if paths and manifest["options"]["features"]:
        raise BadInputError(f"expected a bundle that gives classes, {bundle} gives feature maps: use --check alone")
    images = [prepare(path, manifest["preprocessing"]) for path in paths]
    run, runtime = open_session(bundle, manifest)
    if not check(run, manifest, golden, runtime):
        return 1
    if images:
        (scores,) = run_all(run, np.concatenate(images), size_of(manifest))
        for path, row in zip(paths, scores, strict=True):
            show(path, row, manifest)
    return 0


def main() -> int:
    """The exit code of the command line."""
    parser = argparse.ArgumentParser(description="Top-5 classes of images, by a bundle that proves itself first.")
    parser.add_argument("bundle", type=Path, help="directory that slide-export wrote")
    parser.add_argument("images", type=Path, nargs="*", help="image files")
    parser.add_argument("--check", action="store_true", help="compare with the golden outputs, nothing else")
    asked = parser.parse_args()
    if asked.check == bool(asked.images):
        parser.error("expected images, or --check alone")
    try:
        return classify(asked.bundle, asked.images)
    except BadInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f"error: {error}: pip install -r requirements.txt", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
