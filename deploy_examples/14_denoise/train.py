"""Trains a small NBNet to remove noise from photographs, and writes pairs of photographs that it has not seen.

Given   the photographs that come with slide-export (of scikit-image's sample data) and noise of 25 of 255
Result  OUT/denoise.pth, OUT/pairs/noisy/*.png and OUT/pairs/clean/*.png of two photographs apart from the training's

The loss is upstream's, L1 of the restored patch. Source: MegEngine/NBNet 73112b1, train.py.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from slide_export.calibration.images import bundled, decode
from slide_export.models.config_tree import write_config
from slide_export.models.nbnet import NbNet, NbNetConfig

SIDE = 256  # of the input that the model is exported for
CONFIG = NbNetConfig(width=8, depth=3, subspace=4, skip_width=16, image_size=(SIDE, SIDE))
HELD_OUT = ("chelsea", "coffee")
SIGMA = 25 / 255
PATCH, BATCH = 48, 4
PEAK_RATE, CLIP_NORM, WARM_UP = 2e-3, 1.0, 0.05


def photographs() -> dict[str, NDArray[np.uint8]]:
    """Every photograph by its name, uint8 [H, W, 3]."""
    return {file.stem: np.asarray(decode(file)) for file in bundled().files}


def patches(photos: Sequence[NDArray[np.uint8]], rng: np.random.Generator) -> Tensor:
    """A batch of patches in 0..1, mirrored and turned at random, [B, 3, PATCH, PATCH]."""
    found = []
    for _ in range(BATCH):
        photo = photos[rng.integers(len(photos))]
        top, left = (rng.integers(side - PATCH + 1) for side in photo.shape[:2])
        patch = np.rot90(photo[top : top + PATCH, left : left + PATCH], rng.integers(4))
        found.append(patch[:, ::-1] if rng.integers(2) else patch)
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float() / 255


def rate(step: int, steps: int) -> float:
    """The learning rate: a warm-up, then a cosine to 0."""
    begun = step / max(1, WARM_UP * steps)
    return PEAK_RATE * min(begun, 0.5 * (1 + math.cos(math.pi * step / steps)))


def train(steps: int, seed: int) -> nn.Module:
    """A model that predicts the noise of patches."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = NbNet(CONFIG)
    optimizer = torch.optim.AdamW(model.parameters(), PEAK_RATE, weight_decay=1e-8)
    photos = [photo for name, photo in photographs().items() if name not in HELD_OUT]
    for step in range(1, steps + 1):
        clean = patches(photos, rng)
        noisy = clean + SIGMA * torch.randn_like(clean)
        loss = (noisy - model(noisy) - clean).abs().mean()
        optimizer.param_groups[0]["lr"] = rate(step, steps)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        if step % max(1, steps // 10) == 0:
            click.echo(f"step {step} of {steps}: error {255 * loss.item():.2f} of 255", err=True)
    return model.eval()


def write_pairs(root: Path, seed: int) -> None:
    """The middle of each photograph that was held out, with noise and without, as pictures of 8 bits."""
    rng = np.random.default_rng(seed + 1)
    for folder in ("noisy", "clean"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, photo in photographs().items():
        if name in HELD_OUT:
            top, left = ((side - SIDE) // 2 for side in photo.shape[:2])
            clean = photo[top : top + SIDE, left : left + SIDE]
            noisy = np.rint(clean + 255 * SIGMA * rng.standard_normal(clean.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(clean).save(root / "clean" / f"{name}.png")
            Image.fromarray(noisy).save(root / "noisy" / f"{name}.png")


def psnr(image: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Peak signal to noise in dB of values in 0..1."""
    return -10 * math.log10(float(np.square(image - truth).mean()))


def judge(model: nn.Module, root: Path) -> tuple[float, float]:
    """Mean PSNR of the pairs before and after."""
    before, after = [], []
    for file in sorted((root / "noisy").iterdir()):
        noisy, clean = (np.asarray(Image.open(root / kind / file.name)) / 255 for kind in ("noisy", "clean"))
        image = torch.from_numpy(noisy).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            restored = (image - model(image))[0].permute(1, 2, 0).double().numpy()
        before.append(psnr(noisy, clean))
        after.append(psnr(restored, clean))
    return sum(before) / len(before), sum(after) / len(after)


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--steps", type=click.IntRange(min=1), default=900, show_default=True, help="900 take a minute or two.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(out: Path, steps: int, seed: int) -> None:
    """Train, and write the checkpoint and the pairs to OUT."""
    write_pairs(out / "pairs", seed)
    model = train(steps, seed)
    before, after = judge(model, out / "pairs")
    torch.save({"state_dict": model.state_dict(), "config": write_config(CONFIG, "nbnet")}, out / "denoise.pth")
    click.echo(
        f"PSNR of {len(HELD_OUT)} photographs that it has not seen: {before:.2f} dB noisy, {after:.2f} dB restored"
    )
    click.echo(out / "denoise.pth")


if __name__ == "__main__":
    main()
