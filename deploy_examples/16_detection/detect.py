"""Pictures in, pictures with frames around what was found out: a detector's bundle under ONNX Runtime or OpenVINO.

    python detect.py BUNDLE OUT IMAGE...
    python detect.py BUNDLE --check

It first proves itself: the artifact, as this machine runs it, against the trained model's own outputs, which the bundle
carries. Which boxes are kept is chosen here (NMS), by the numbers in the manifest. Exit codes: 0 done, 1 not equal to
the trained model, 2 bad input, 3 the runtime is not installed.
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
from PIL import Image, ImageDraw, ImageOps

Array = NDArray[Any]
Run = Callable[[Array], dict[str, Array]]  # one batch in, every output by name

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "U8": "u1", "I64": "<i8"}  # of safetensors
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
SHOWN = 0.3  # score from which a frame is drawn


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
    if manifest["task"] != "detect" or manifest["options"]["output"] != "boxes":
        raise BadInputError(f"expected a detector's bundle with boxes, {bundle} is another: export with --output boxes")
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
    """Whether the artifact gives what the trained model gave for the golden images; prints by how much it differs."""
    images, passed = golden[f"input.{manifest['inputs'][0]['name']}"], True
    batch = manifest["options"]["batch"] or 1
    for start in range(0, len(images) // batch * batch, batch):
        some = slice(start, start + batch)
        found = run(np.ascontiguousarray(images[some]))
        for limit in manifest["parity"]["outputs"]:
            error = float(np.abs(found[limit["name"]] - golden[f"reference.{limit['name']}"][some]).max())
            passed &= error <= limit["limit_max"]  # NaN is not
            print(f"image {start}: {limit['name']} differ by {error:.1e} of {limit['limit_max']:.1e} allowed")
    print("✓ proved equal to the trained model" if passed else "✗ NOT equal to the trained model")
    return passed


def choose(scores: Array, boxes: Array, config: dict[str, Any], size: tuple[int, int]) -> tuple[Array, Array, Array]:
    """Choose boxes [n, 4], scores [n] and classes [n] of one image, best first.

    As mmdetection chooses: of each level the best pairs of an anchor and a class, then class by class those that no
    better box overlaps by more than the threshold.

    Args:
        scores: [N, K] of every anchor.
        boxes: [N, 4], left, top, right, bottom.
        config: the manifest's "model" and "config" in it.
        size: rows and columns of the input.
    """
    found, start = [], 0
    for count in level_sizes(config, size):
        anchors, classes = np.nonzero(scores[start : start + count] > config["score_threshold"])
        order = np.argsort(-scores[start + anchors, classes], kind="stable")[: config["candidates"]]
        found.append((start + anchors[order], classes[order]))
        start += count
    anchors, classes = (np.concatenate(column) for column in zip(*found, strict=True))
    corners, values = boxes[anchors], scores[anchors, classes]
    solid = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    corners, values, classes = corners[solid], values[solid], classes[solid]
    apart = corners + classes[:, None] * (corners.max(initial=0) + 1)  # classes never overlap
    order, kept = np.argsort(-values, kind="stable"), []
    while len(order) and len(kept) < config["detections"]:
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[overlap(apart[best], apart[order]) <= config["iou_threshold"]]
    return corners[kept], values[kept], classes[kept]


def level_sizes(config: dict[str, Any], size: tuple[int, int]) -> list[int]:
    """Anchors of each level: every stride halves the map again, rounded up."""
    each, counts = len(config["anchor_scales"]) * len(config["anchor_ratios"]), []
    rows, cols = (-(-side // config["anchor_strides"][0]) for side in size)
    for _ in config["anchor_strides"]:
        counts.append(rows * cols * each)
        rows, cols = -(-rows // 2), -(-cols // 2)
    return counts


def overlap(box: Array, others: Array) -> Array:
    """Intersection over union of a box [4] with others [n, 4]."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    inside = np.prod(sides.clip(min=0), axis=1)
    areas = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1)
    shares: Array = inside / np.maximum(areas - inside, 1e-12)
    return shares


def answer(run: Run, manifest: dict[str, Any], file: Path, out: Path) -> None:
    """Writes a picture with a frame around each detection, and prints them."""
    try:
        with Image.open(file) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise BadInputError(f"expected an image, {file} cannot be decoded: {error}") from error
    images = prepare(picture, manifest["preprocessing"])
    found = run(images.repeat(manifest["options"]["batch"] or 1, axis=0))
    rows, cols = manifest["preprocessing"]["crop"]
    boxes, scores, classes = choose(found["scores"][0], found["boxes"][0], manifest["model"]["config"], (rows, cols))
    height, width = placed(picture, manifest["preprocessing"])
    scale, drawing = np.array([picture.width / width, picture.height / height] * 2), ImageDraw.Draw(picture)
    print(out / f"{file.stem}.png")
    for box, score, number in zip(boxes * scale, scores, classes, strict=True):
        if score < SHOWN:
            continue
        label = manifest["labels"][number] if manifest["labels"] else f"class {number}"
        drawing.rectangle(tuple(map(float, box)), outline=(255, 64, 0), width=3)
        drawing.text((float(box[0]) + 4, float(box[1]) + 4), f"{label} {score:.0%}", fill=(255, 64, 0))
        print(f"{score:8.1%}  {label}  at {', '.join(f'{value:.0f}' for value in box)}")
    picture.save(out / f"{file.stem}.png")


def main() -> int:
    """Run the command line; its exit code."""
    parser = argparse.ArgumentParser(description="Objects in pictures, by a bundle that proves itself first.")
    parser.add_argument("bundle", type=Path, help="directory that slide-export wrote")
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
