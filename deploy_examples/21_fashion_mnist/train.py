"""Train a small Slide-Swin on Fashion-MNIST; write its checkpoint, its 10,000 test pictures and some to calibrate on.

The recipe, the model and the format of the file are those of the digits: deploy_examples/00_digits/train.py.
"""

import gzip
import time
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from slide_export.digits.train import SIDE, accuracy, build_model, config_tree, train, write_checkpoint

DATA = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist
LABELS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
HEADERS = {2051: 16, 2049: 8}  # bytes before the values, by the file's first number
CALIBRATION = 300


def read(file: Path) -> np.ndarray:
    """The values of an IDX file of bytes: pictures [N, 28, 28] or classes [N]."""
    content = gzip.decompress(file.read_bytes())
    count, header = int.from_bytes(content[4:8], "big"), HEADERS.get(int.from_bytes(content[:4], "big"))
    if header is None:
        raise click.UsageError(f"expected pictures or classes of MNIST's form, found {file}")
    return np.frombuffer(content, np.uint8, offset=header).reshape((count, 28, 28) if header == 16 else (count,))


def pictures(data: Path, which: str) -> tuple[Tensor, Tensor]:
    """The pictures as uint8 [N, 1, SIDE, SIDE], enlarged from 28x28, and their classes [N]."""
    small, classes = (read(data / f"{which}-{part}-ubyte.gz") for part in ("images-idx3", "labels-idx1"))
    large = [np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for one in small]
    return torch.from_numpy(np.stack(large))[:, None], torch.from_numpy(classes.astype(np.int64))


def augment(grays: Tensor) -> Tensor:
    """Float images, half of them mirrored, each shifted up to 4 of its 64 pixels."""
    mirrored = torch.where(torch.rand(len(grays), 1, 1, 1) < 0.5, grays.flip(3), grays).float()
    padded = functional.pad(mirrored, (4, 4, 4, 4))
    down, right = torch.randint(0, 9, (2,)).tolist()  # one shift a batch: a view, not a resampling
    return padded[:, :, down : down + SIDE, right : right + SIDE]


def write_pictures(folder: Path, grays: Tensor, classes: Tensor) -> None:
    """Write `folder`/<class>/<index>.png, beside `folder` first and then renamed whole."""
    partial = folder.with_name(folder.name + ".partial")
    for index, (gray, number) in enumerate(zip(grays, classes.tolist(), strict=True)):
        path = partial / f"{number}" / f"{index:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(gray[0].numpy()).save(path)
    partial.rename(folder)


@click.command()
@click.option("--data", type=click.Path(path_type=Path), default=DATA, show_default=True, help="The four .gz files.")
@click.option("--out", type=click.Path(path_type=Path), default="fashion", show_default=True, help="A new directory.")
@click.option("--epochs", type=click.IntRange(min=1), default=4, show_default=True, help="Times through the images.")
@click.option("--seed", default=0, show_default=True, help="Of weights, order and augmentation.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
def main(data: Path, out: Path, epochs: int, seed: int, threads: int) -> None:
    """Train, and write fashion.pth, labels.txt, test/ and calibration/ into --out."""
    if out.exists():
        raise click.UsageError(f"--out must be a new directory; {out} exists")
    if not data.is_dir():
        raise click.UsageError(f"expected Fashion-MNIST in {data}: apt-get install dataset-fashion-mnist, or --data")
    out.mkdir(parents=True)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    (grays, classes), (test, expected) = (pictures(data, which) for which in ("train", "t10k"))
    tree = config_tree()
    tree["MODEL"]["NAME"] = "slide_swin_fashion"
    start, model = time.perf_counter(), build_model(tree)
    ema = train(model, grays, classes, epochs, augmented=augment)
    click.echo(f"trained in {time.perf_counter() - start:.0f} s", err=True)
    raw, mean = (accuracy(each, test, expected) for each in (model, ema))
    click.echo(f"accuracy on {len(test):,} test pictures {raw:.2f} % (EMA {mean:.2f} %)", err=True)
    write_checkpoint(out / "fashion.pth", tree, model, ema, raw, epochs)
    (out / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    write_pictures(out / "test", test, expected)
    write_pictures(out / "calibration", grays[:CALIBRATION], classes[:CALIBRATION])
    click.echo(out / "fashion.pth")


if __name__ == "__main__":
    main()
