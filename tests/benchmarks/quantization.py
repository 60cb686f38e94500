"""What calibration costs, how large quantized artifacts are, and what they lose on the digits.

python -m tests.benchmarks.quantization costs | sizes | digits     one table, as Markdown; without a word all three
python -m tests.benchmarks.quantization cost TARGET COUNT CHECKPOINT IMAGES    one calibration, for its time and memory
"""

import importlib
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from slide_export import export
from slide_export.backends.registry import default_form
from slide_export.calibration.image_cache import FedImages, PictureStore, cached
from slide_export.calibration.images import bundled, decode, find
from slide_export.calibration.quantization import NumericFormat, in_precision
from slide_export.calibration.recipe import default
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.artifact import ModelIO
from slide_export.graph.export import export as to_onnx
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.inference.served import in_form, serve
from tests.benchmarks.export_cost import save_random
from tests.benchmarks.process import run_once

DIGITS = Path("deploy_examples/00_digits/digits.pth")
HELDOUT = Path("deploy_examples/00_digits/heldout")
COUNTS = (300, 3000)
SIDE = 224
PRECISIONS = {"onnx": ("int8", "w8"), "openvino": ("int8", "w8"), "coreml": ("w8",)}


def save_crops(path: Path, count: int) -> None:
    """Writes `count` different crops, mirrored and not, of the bundled photographs, uint8 [N, 224, 224, 3]."""
    rng = np.random.default_rng(0)
    photographs = [decode(file) for file in bundled().files]
    crops = []
    for index in range(count):
        picture = photographs[index % len(photographs)]
        side = int(rng.integers(120, min(picture.size)))
        left, top = rng.integers(0, picture.width - side + 1), rng.integers(0, picture.height - side + 1)
        crop = picture.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        crops.append(np.asarray(crop)[:, :: 1 if rng.integers(2) else -1])
    np.savez(path, images=np.stack(crops))


def calibrate(target: str, count: str, checkpoint: str, images: str) -> None:
    """Quantizes to int8 once, in this process."""
    model = load_checkpoint(Path(checkpoint))
    graph = to_onnx(in_form(choose(fuse(model), "auto", auto=default_form(target)), ModelIO()))
    recipe = default(target, "int8").resolved()
    chosen = find(Path(images)).sample(int(count), 0)
    fed = FedImages(cached(chosen, PictureStore(model.data, model.image_size)), serve(model, ModelIO()).feeds)
    in_precision(graph, NumericFormat("int8", recipe), fed)


def costs(out: Path, counts: tuple[int, ...] = COUNTS) -> None:
    """Print what calibrating Slide-Swin-T takes."""
    checkpoint = save_random("slide_swin_tiny", out)
    save_crops(out / "crops.npz", max(counts))
    print("## Slide-Swin-T to int8 at 224x224, export of the graph included\n")
    print("| target | images | seconds | peak MiB |\n|---|---|---|---|")
    for target in ("onnx", "openvino"):
        for count in counts:
            where = [target, str(count), str(checkpoint), str(out / "crops.npz")]
            cost = run_once(["-m", "tests.benchmarks.quantization", "cost", *where])
            print(f"| {target} | {count} | {cost.seconds:.0f} | {cost.peak_mib:.0f} |", flush=True)


def sizes(out: Path) -> None:
    """Print how large Slide-Swin-T is in each precision."""
    checkpoint = save_random("slide_swin_tiny", out)
    save_crops(out / "few.npz", 16)
    print("## Slide-Swin-T, size of the artifact\n\n| target | precision | MiB | of fp32 | SQNR dB |")
    print("|---|---|---|---|---|")
    for target, precisions in PRECISIONS.items():
        whole = 0.0
        for precision in ("fp32", *precisions):
            made = export(
                checkpoint, target, precision=precision, images=out / "few.npz", image_count=4, out=out, overwrite=True
            )
            files = [file for name in ("model.*", "model.*/**/*") for file in made.path.glob(name) if file.is_file()]
            size = sum(file.stat().st_size for file in files) / 2**20
            whole = whole or size
            sqnr = made.manifest.parity.outputs[0].sqnr_db
            print(f"| {target} | {precision} | {size:.1f} | {size / whole:.3f} | {sqnr:.1f} |", flush=True)


def digits(out: Path) -> None:
    """Print what the digits model loses on its 500 held-out images, calibrated on 300 that it was trained on."""
    train = importlib.import_module("slide_export.digits.train")
    grays, classes = train.draw_digits()
    trained, _ = train.split(classes)
    np.savez(out / "trained.npz", images=grays[trained, 0].numpy())
    print("## Digits, 500 held-out images\n")
    print("| target | precision | top-1 | points lost | changed answers | SQNR dB | MiB |")
    print("|---|---|---|---|---|---|---|")
    for target, precisions in PRECISIONS.items():
        for precision in ("fp32", "fp16", *precisions):
            made = export(
                DIGITS, target, precision=precision, images=out / "trained.npz", evaluation=HELDOUT, out=out, max_drop=5
            ).manifest
            said, size = made.accuracy, made.artifact.bytes / 2**20
            changed = round((1 - said.agreement) * said.images)
            numbers = f"{said.artifact.top1:.1%} | {said.drop:.1f} | {changed} | {said.sqnr_db:.1f} | {size:.2f}"
            print(f"| {target} | {precision} | {numbers} |", flush=True)


TABLES = {"costs": costs, "sizes": sizes, "digits": digits}


def main(names: list[str]) -> None:
    """Print tables in Markdown."""
    for name in names or TABLES:
        with tempfile.TemporaryDirectory() as temporary:
            TABLES[name](Path(temporary))
        print()


if __name__ == "__main__":
    if sys.argv[1:2] == ["cost"]:
        calibrate(*sys.argv[2:])
    else:
        main(sys.argv[1:])
