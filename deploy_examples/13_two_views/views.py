"""Makes a small random MV-Swin-T and pairs of pictures, and answers them in ONNX Runtime without slide-export.

Given   the photographs that come with slide-export
Result  OUT/views.pth, OUT/pairs/CC/*.png and OUT/pairs/MLO/*.png: two cuts of each photograph; and, with a bundle of
        the checkpoint, the probability of each pair beside PyTorch's

A mammogram's two views lie in such folders by equal names. Exit codes: 0 equal, 1 not.
"""

import json
from pathlib import Path

import click
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image

from slide_export.calibration.images import bundled, decode
from slide_export.models.config_tree import write_config
from slide_export.models.mv_swin_t import MvSwinConfig, MvSwinTransformer

SIDE = 128  # 32 times the window, or the layer that joins the views has not one weight a token
CONFIG = MvSwinConfig(16, (2, 2, 2, 2), (2, 4, 8, 16), window=SIDE // 32, image_size=(SIDE, SIDE))
APART = 60  # pixels between the two cuts of a photograph
CLOSE = 1e-4  # of probabilities: cosines times up to 100 amplify rounding


def model() -> MvSwinTransformer:
    """The same random model every time."""
    torch.manual_seed(0)
    return MvSwinTransformer(CONFIG).eval()


def make(out: Path) -> None:
    """Write the checkpoint and the pairs."""
    for view, offset in (("CC", 0), ("MLO", APART)):
        (out / "pairs" / view).mkdir(parents=True, exist_ok=True)
        for file in bundled().files:
            place = (offset, offset, offset + SIDE, offset + SIDE)
            decode(file).crop(place).save(out / "pairs" / view / f"{file.stem}.png")
    torch.save({"model": model().state_dict(), "config": write_config(CONFIG, "mv_swin_t")}, out / "views.pth")


def read(file: Path) -> NDArray[np.float32]:
    """A picture of the input's size in 0..1, [1, 3, H, W]; there is neither mean nor deviation."""
    pixels = np.asarray(Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255)


def answer(bundle: Path, pairs: Path) -> float:
    """Print the probability of each pair; the largest difference from PyTorch's."""
    name = json.loads((bundle / "manifest.json").read_text())["artifact"]["path"]
    session, trained, worst = onnxruntime.InferenceSession(str(bundle / name)), model(), 0.0
    for cc in sorted((pairs / "CC").iterdir()):
        views = read(cc), read(pairs / "MLO" / cc.name)
        (logits,) = session.run(None, {"cc": views[0], "mlo": views[1]})
        with torch.inference_mode():
            expected = trained(*map(torch.from_numpy, views)).sigmoid().item()
        found = 1 / (1 + float(np.exp(-logits[0, 0])))
        click.echo(f"{cc.stem:<20} {found:7.2%}")
        worst = max(worst, abs(found - expected))
    return worst


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--bundle", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Answer with it.")
def main(out: Path, bundle: Path | None) -> None:
    """Make the model and the pairs in OUT or, with --bundle, answer the pairs there."""
    if bundle is None:
        make(out)
        click.echo(out / "views.pth")
        return
    worst = answer(bundle, out / "pairs")
    click.echo(f"{'✓' if worst <= CLOSE else '✗'} the largest difference from PyTorch is {worst:.1e}")
    raise SystemExit(int(worst > CLOSE))


if __name__ == "__main__":
    main()
