"""Trains a small Slide-PVTv2 with a Semantic FPN to find handwritten digits in photographs, pixel by pixel.

    python train.py OUT [--steps 1500]

Scenes are made by a rule, so that every pixel's class is known: scikit-learn's digits, enlarged and coloured, on crops
of the photographs that slide-export ships. OUT receives `scenes.pth`, a training file as mmsegmentation 0 writes it,
and two folders of pictures with maps of their classes: `calibration`, of digits that the training has seen, and
`heldout`, of digits that it has not.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from slide_export.calibration.images import bundled, decode
from slide_export.models.dense import DENSE
from slide_export.models.family import Family

FAMILY = "slide_pvt_v2_semantic_fpn"
SIDE = 96
KINDS = (0, 1, 4, 7)  # digits of the scenes: told apart in minutes
CLASSES = ("photograph", *map(str, KINDS))
DIGITS = (3, 5)  # of a scene, at least and at most
SIZES = (24, 40)  # pixels of a digit
INK = 0.35  # of a digit's brightest pixel: from here on a pixel is the digit's
HELD_OUT_DIGITS = 180
FOLDERS = {"calibration": 64, "heldout": 60}  # scenes
BATCH, PEAK_RATE, WEIGHT_DECAY, CLIP_NORM, WARM_UP = 16, 2e-3, 0.05, 5.0, 0.1
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of mmsegmentation's configurations
HEADS = (1, 2, 4, 8)
CONFIG = f"""
crop_size = ({SIDE}, {SIDE})
img_norm_cfg = dict(mean={list(MEAN)}, std={list(STD)}, to_rgb=True)
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='SlidePVTv2', num_heads={list(HEADS)}),
    neck=dict(type='FPN', in_channels=[16, 32, 64, 128], out_channels=32, num_outs=4),
    decode_head=dict(type='FPNHead', in_index=[0, 1, 2, 3], channels=32, num_classes={len(CLASSES)},
                     norm_cfg=dict(type='BN', requires_grad=True), align_corners=False),
    test_cfg=dict(mode='whole'))
"""
Scene = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def family() -> Family:
    """Family of the model."""
    return next(one for one in DENSE if one.name == FAMILY)


def build_model() -> nn.Module:
    """Build the randomly initialised model."""
    kind: Any = type(next(iter(family().variants.values())))
    numbers = {"embed_dims": (16, 32, 64, 128), "depths": (1, 2, 2, 1), "heads": HEADS, "mlp_ratios": (4.0,) * 4}
    size = {"image_size": (SIDE, SIDE), "num_classes": len(CLASSES), "slide_stages": (0, 1)}
    return family().build(kind(**numbers, **size, neck_channels=32, head_channels=32))


def photographs() -> list[NDArray[np.uint8]]:
    """Read the photographs that slide-export ships, as arrays [H, W, 3]."""
    return [np.asarray(decode(file)) for file in bundled().files]


def draw_scene(
    rng: np.random.Generator, photos: Sequence[NDArray[np.uint8]], digits: NDArray[np.floating], classes: NDArray[Any]
) -> Scene:
    """Draw a picture [SIDE, SIDE, 3] and the class of each pixel [SIDE, SIDE]."""
    photo = photos[rng.integers(len(photos))]
    top, left = (rng.integers(side - SIDE + 1) for side in photo.shape[:2])
    picture = photo[top : top + SIDE, left : left + SIDE].astype(np.float64) * rng.uniform(0.4, 0.9)
    labels = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(rng.integers(DIGITS[0], DIGITS[1] + 1)):
        index, side = rng.integers(len(digits)), int(rng.integers(SIZES[0], SIZES[1] + 1))
        ink = np.asarray(
            Image.fromarray(digits[index].astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
        )
        y, x = (int(rng.integers(SIDE - side + 1)) for _ in range(2))
        drawn = ink > INK * ink.max()
        colour = rng.uniform(150, 255, 3)
        picture[y : y + side, x : x + side][drawn] = colour
        labels[y : y + side, x : x + side][drawn] = classes[index] + 1
    return np.rint(picture.clip(0, 255)).astype(np.uint8), labels


def scenes(seed: int, *, held_out: bool) -> Callable[[], Scene]:
    """Make a function that draws one scene after the other, of digits for training or of those held out."""
    bunch, rng, photos = load_digits(), np.random.default_rng(seed), photographs()
    order = np.random.default_rng(0).permutation(np.flatnonzero(np.isin(bunch.target, KINDS)))
    chosen = order[:HELD_OUT_DIGITS] if held_out else order[HELD_OUT_DIGITS:]
    classes = np.searchsorted(KINDS, bunch.target[chosen])
    return lambda: draw_scene(rng, photos, bunch.images[chosen], classes)


def train(steps: int, seed: int = 0) -> nn.Module:
    """Train the model: AdamW, warm-up and cosine."""
    torch.manual_seed(seed)
    model, draw = build_model(), scenes(seed + 1, held_out=False)
    optimizer = torch.optim.AdamW(model.parameters(), PEAK_RATE, weight_decay=WEIGHT_DECAY)
    warm = max(1, round(WARM_UP * steps))
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    for step in range(steps):
        pictures, labels = map(np.stack, zip(*(draw() for _ in range(BATCH)), strict=True))
        images = (torch.from_numpy(pictures).permute(0, 3, 1, 2) - mean) / std
        logits = functional.interpolate(model(images), size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        loss = functional.cross_entropy(logits, torch.from_numpy(labels).long())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        rate.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {loss.item():.3f}", flush=True)
    return model.eval()


def save(model: nn.Module, path: Path) -> None:
    """Writes a training file of mmsegmentation's form: weights, class names, and the configuration as text."""
    meta = {"mmseg_version": "0.30.0", "CLASSES": CLASSES, "PALETTE": None, "config": CONFIG}
    torch.save({"meta": meta, "state_dict": model.state_dict()}, path)


def write_scenes(folder: Path) -> None:
    """Write a folder of FOLDERS: a picture and a map of classes each."""
    held_out = folder.name == "heldout"
    draw = scenes(99 if held_out else 98, held_out=held_out)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(FOLDERS[folder.name]):
        picture, labels = draw()
        Image.fromarray(picture).save(folder / "images" / f"{index:02d}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{index:02d}.png")


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Train a small segmenter on scenes of digits.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in FOLDERS:
        write_scenes(asked.out / name)
    save(train(asked.steps), asked.out / "scenes.pth")
    print(asked.out / "scenes.pth")


if __name__ == "__main__":
    main()
