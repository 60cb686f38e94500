"""Pictures in, pictures under the colours of their classes out: a segmenter's bundle under ONNX Runtime or OpenVINO.

    python segment.py BUNDLE OUT IMAGE...
    python segment.py BUNDLE --check

The bundle is made with `--output mask`. It first proves itself: the artifact, as this machine runs it, against the
trained model's own outputs, which the bundle carries. Exit codes: 0 done, 1 not equal to the trained model, 2 bad
input, 3 the runtime is not installed.
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
from PIL import Image, ImageOps

Array = NDArray[Any]
Run = Callable[[Array], dict[str, Array]]  # one batch in, every output by name

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "U8": "u1", "I64": "<i8"}  # of safetensors
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
OPACITY = 0.5


class BadInputError(Exception):
    """What was expected, what was found, what to do."""


def open_session(bundle: Path, manifest: dict[str, Any]) -> Run:
    """Make a session that runs one batch, started with the settings that the bundle was proved with."""
    artifact, names = manifest["artifact"], [output["name"] for output in manifest["outputs"]]
    (fed,), settings = manifest["inputs"], artifact["settings"]
    if manifest["target"] == "onnx":
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime would write an id of this device below the home
        import onnxruntime

        options = onnxruntime.SessionOptions()
        level = f"ORT_ENABLE_{settings['optimization'].upper()}"
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        for name, value in settings["config"].items():
            options.add_session_config_entry(name, value)
        session = onnxruntime.InferenceSession(bundle / artifact["path"], options, providers=["CPUExecutionProvider"])
        return lambda images: dict(zip(names, session.run(names, {fed["name"]: images}), strict=True))
    if manifest["target"] == "openvino":
        sys.modules.setdefault("openvino_telemetry", None)  # else the import below reports itself to Google Analytics
        import openvino

        compiled = openvino.Core().compile_model(bundle / artifact["path"], settings["device"], settings["config"])
        return lambda images: {name: compiled({fed["name"]: images})[name] for name in names}
    raise BadInputError(f"expected a bundle for onnx or openvino, {bundle} is for {manifest['target']}")


def read_bundle(bundle: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read the manifest, and the golden arrays by name."""
    try:
        manifest = json.loads((bundle / "manifest.json").read_text())
        golden = read_safetensors((bundle / "golden.safetensors").read_bytes())
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise BadInputError(f"expected a bundle of slide-export at {bundle}, cannot read it: {error}") from error
    if manifest["task"] != "segment" or manifest["options"]["output"] != "mask":
        raise BadInputError(
            f"expected a segmenter's bundle with a mask, {bundle} is another: export with --output mask"
        )
    return manifest, golden


def read_safetensors(data: bytes) -> dict[str, Array]:
    """Read the arrays of a safetensors file: eight bytes of length, a header in JSON, the raw values."""
    (length,) = struct.unpack_from("<Q", data)
    header, values = json.loads(data[8 : 8 + length]), data[8 + length :]
    return {
        name: np.frombuffer(values[slice(*entry["data_offsets"])], TYPES[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def prepare(picture: Image.Image, how: dict[str, Any]) -> Array:
    """Read a picture as the model takes it, the whole of it resized: float32 [1, 3, H, W]."""
    (rows, cols), (height, width) = how["crop"], placed(picture, how)
    whole = Image.new("RGB", (cols, rows), tuple(round(255 * channel) for channel in how["mean"]))
    whole.paste(picture.resize((width, height), FILTERS[how["interpolation"]]), (0, 0))
    pixels = np.asarray(whole, np.float32)[None]
    mean, std = np.float32(how["mean"]), np.float32(how["std"])
    return np.ascontiguousarray(((pixels / 255 - mean) / std).transpose(0, 3, 1, 2))


def placed(picture: Image.Image, how: dict[str, Any]) -> tuple[int, int]:
    """Rows and columns of the input that a picture takes, from the top left; what is left is filled."""
    rows, cols = how["crop"]
    if not how["fits"]:
        return rows, cols
    factor = min(rows / picture.height, cols / picture.width)
    return min(rows, int(picture.height * factor + 0.5)), min(cols, int(picture.width * factor + 0.5))


def check(run: Run, manifest: dict[str, Any], golden: dict[str, Array]) -> bool:
    """Whether the artifact is the trained model: logits within the limits, no sure pixel of another class."""
    name, (limit,) = manifest["inputs"][0]["name"], manifest["parity"]["outputs"]
    images, passed = golden[f"input.{name}"], True
    batch = manifest["options"]["batch"] or 1
    for start in range(0, len(images) // batch * batch, batch):
        some = slice(start, start + batch)
        found = run(np.ascontiguousarray(images[some]))
        error = float(np.abs(found["logits"] - golden["reference.logits"][some]).max())
        other = found["mask"] != golden["reference.mask"][some]
        sure = float(np.where(other, golden["margin.mask"][some], 0).max())
        passed &= error <= limit["limit_max"] and sure <= 2 * limit["limit_max"]  # NaN is not
        print(
            f"images {start} to {start + batch - 1}: logits differ by {error:.1e} of {limit['limit_max']:.1e} allowed, "
            f"{other.mean():.3%} of the pixels are of another class, by margins of {sure:.1e} at most"
        )
    print("✓ proved equal to the trained model" if passed else "✗ NOT equal to the trained model")
    return passed


def palette(count: int) -> Array:
    """Colours of classes [count, 3]: the bits of its number, spread over the channels (PASCAL VOC)."""
    numbers, colours = np.arange(count), np.zeros((count, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def colours_of(manifest: dict[str, Any]) -> Array:
    """Colours of 256 classes: the file's own, else those of PASCAL VOC."""
    colours, own = palette(256), np.array(manifest["model"]["config"]["palette"], np.uint8).reshape(-1, 3)
    colours[: len(own)] = own
    return colours


def answer(run: Run, manifest: dict[str, Any], file: Path, out: Path) -> None:
    """Writes a picture under the colours of its classes, and prints what covers it."""
    try:
        with Image.open(file) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise BadInputError(f"expected an image, {file} cannot be decoded: {error}") from error
    images = prepare(picture, manifest["preprocessing"])
    mask = run(images.repeat(manifest["options"]["batch"] or 1, axis=0))["mask"][0]
    rows, cols = placed(picture, manifest["preprocessing"])
    mask = mask[:rows, :cols]  # the rest is no picture
    colours = Image.fromarray(colours_of(manifest)[mask]).resize(picture.size, Image.Resampling.NEAREST)
    Image.blend(picture, colours, OPACITY).save(out / f"{file.stem}.png")
    print(out / f"{file.stem}.png")
    numbers, counts = np.unique(mask, return_counts=True)
    for at in np.argsort(-counts, kind="stable"):
        label = manifest["labels"][numbers[at]] if manifest["labels"] else f"class {numbers[at]}"
        print(f"{counts[at] / mask.size:8.1%}  {label}")


def main() -> int:
    """Run the command line; its exit code."""
    parser = argparse.ArgumentParser(description="Classes of pixels, by a bundle that proves itself first.")
    parser.add_argument("bundle", type=Path, help="directory that slide-export wrote with --output mask")
    parser.add_argument("out", type=Path, nargs="?", help="directory for the pictures")
    parser.add_argument("images", type=Path, nargs="*", help="image files")
    parser.add_argument("--check", action="store_true", help="compare with the golden outputs, nothing else")
    asked = parser.parse_args()
    if asked.check == bool(asked.images):
        parser.error("expected a directory and images, or --check alone")
    try:
        manifest, golden = read_bundle(asked.bundle)
        run = open_session(asked.bundle, manifest)
        if not check(run, manifest, golden):
            return 1
        for file in asked.images:
            asked.out.mkdir(parents=True, exist_ok=True)
            answer(run, manifest, file, asked.out)
    except BadInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f"error: {error}: pip install -r requirements.txt", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
