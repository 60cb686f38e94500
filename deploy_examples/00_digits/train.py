"""Trains a small model on scikit-learn's handwritten digits and writes a checkpoint in upstream's own format.

The recipe is upstream's in small: AdamW, warm-up and cosine, gradient clipping, label smoothing and timm's EMA.
Source: LeapLabTHU/Slide-Transformer 6b1e184, slide_transformer/{main_ema,optimizer,lr_scheduler,config}.py.
"""

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional
from yacs.config import CfgNode

from slide_export.models import FAMILIES
from slide_export.models.cbam import CbamConfig
from slide_export.models.config_tree import write_config
from slide_export.models.cswin import CSwinConfig
from slide_export.models.dat_config import DatConfig
from slide_export.models.gam import GamConfig
from slide_export.models.mvitv2 import MvitV2Config
from slide_export.models.nat import NatConfig
from slide_export.models.pvt import PvtConfig
from slide_export.models.pvt_v2 import PvtV2Config
from slide_export.models.twins import TwinsConfig

SIDE = 64  # 16, 8, 4 and 2 rows in the four stages: every stage has a neighbourhood to attend to
HELD_OUT = 500
SPLIT_SEED = 0  # apart from --seed, so that every run is judged by the same images
BATCH = 64
PEAK_RATE, WEIGHT_DECAY, CLIP_NORM, SMOOTHING = 2e-3, 0.05, 5.0, 0.1
NO_DECAY = (
    "relative_position_bias_table",
    "rpb",
    "pos_embed",
    "cls_token",
    "rpe_table",
    "rel_pos",
)  # parts of names: tables of positions
WARM_UP = 0.1  # share of all steps
EMA_DECAY = 0.99  # upstream's 0.9999 averages over more steps than this training has

DEPTHS = (1, 2, 2, 1)
INPUT: dict[str, Any] = {"image_size": (SIDE, SIDE), "num_classes": 10}
SIZE: dict[str, Any] = {**INPUT, "slide_stages": (0, 1)}
PYRAMID = ((16, 32, 64, 128), DEPTHS, (2, 4, 8, 16), (4.0,) * 4)
CONFIGS = {
    "slide_pvt": PvtConfig(*PYRAMID, **SIZE),
    "slide_pvt_v2": PvtV2Config(*PYRAMID, **SIZE),
    "slide_cswin": CSwinConfig(16, DEPTHS, (2, 4, 8, 16), stripes=(1, 2, 2, 0), **SIZE),
    "slide_nat": NatConfig(16, DEPTHS, (2, 4, 8, 16), 3.0, **SIZE),
    "twins": TwinsConfig((16, 32, 64, 128), (2, 2, 2, 1), (2, 4, 8, 16), windows=(4, 4, 2, 2), **INPUT),
    "dat": DatConfig(
        dims=(16, 32, 64, 128),
        blocks=("LS", "LS", "LD", "D"),
        heads=(2, 4, 8, 16),
        plus_plus=False,
        groups=(1, 1, 2, 4),
        strides=(1, 1, 1, 1),
        offset_factors=(2.0,) * 4,
        windows=(4, 4, 2, 2),
        **INPUT,
    ),
    "mvitv2": MvitV2Config(16, 6, 2, (1, 3, 5), **INPUT),
    "cbam": CbamConfig(DEPTHS, bottleneck=False, width=16, cifar=True, image_size=(32, 32), num_classes=10),
    "gam": GamConfig(DEPTHS, bottleneck=False, width=16, **INPUT),
}
"""The small models of every family but Slide-Swin, whose upstream has configuration files: `swin_tree`. CBAM's takes 32
pixels: its last map is averaged over 7x7, or over 4x4 in the network for small images."""


def config_tree(family: str = "slide_swin") -> CfgNode:
    """The numbers of model and data, under the names of upstream's config.py; under ours where it has none."""
    tree = swin_tree() if family == "slide_swin" else write_config(CONFIGS[family], family)
    tree["DATA"] |= {"INTERPOLATION": "bicubic", "MEAN": [0.5] * 3, "STD": [0.5] * 3}
    return CfgNode(tree | {"TEST": {"CROP": False}})


def swin_tree() -> dict[str, Any]:
    """The model's part of the tree of a Slide-Swin."""
    swin = {"PATCH_SIZE": 4, "IN_CHANS": 3, "EMBED_DIM": 16, "DEPTHS": [1, 2, 2, 1], "NUM_HEADS": [2, 4, 8, 16]}
    swin |= {"WINDOW_SIZE": SIDE, "MLP_RATIO": 4.0, "QKV_BIAS": True, "QK_SCALE": None, "APE": False}
    swin |= {"PATCH_NORM": True}
    model = {"TYPE": "slide_swin", "NAME": "slide_swin_digits", "NUM_CLASSES": 10, "SWIN": swin}
    model |= {"SLIDE": {"KA": 3, "NUM_SLIDE_STAGES": 2}}
    return {"MODEL": model, "DATA": {"IMG_SIZE": SIDE}}


def build_model(tree: CfgNode) -> nn.Module:
    """The randomly initialised model that the tree describes, so that file and model cannot disagree."""
    family = next(family for family in FAMILIES if family.name == tree["MODEL"]["TYPE"])
    return family.build(family.read_config(tree))


def draw_digits() -> tuple[Tensor, Tensor]:
    """All digits as uint8 images [1797, 1, SIDE, SIDE] and their classes [1797]."""
    bunch = load_digits()
    grays = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8], from 0..16
    large = [np.asarray(Image.fromarray(gray).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for gray in grays]
    return torch.from_numpy(np.stack(large))[:, None], torch.from_numpy(bunch.target).long()


def split(classes: Tensor) -> tuple[Tensor, Tensor]:
    """The indices to train on and those held out, with the same share of each class in both."""
    indices = np.arange(len(classes))
    train, held_out = train_test_split(indices, test_size=HELD_OUT, random_state=SPLIT_SEED, stratify=classes.numpy())
    return torch.from_numpy(train), torch.from_numpy(np.sort(held_out))


def normalise(grays: Tensor, side: int = SIDE) -> Tensor:
    """Model input [B, 3, side, side] in -1..1 for gray images [B, 1, H, W] in 0..255: mean and std are 0.5."""
    grays = grays.float()
    if grays.shape[2] != side:
        grays = functional.interpolate(grays, (side, side), mode="bicubic", antialias=True).clamp(0, 255)
    return (grays / 255 - 0.5).div(0.5).expand(-1, 3, -1, -1)


def augment(grays: Tensor) -> Tensor:
    """Float images, each turned up to 12 degrees, scaled up to 12 % and shifted up to 4 of its 64 pixels."""
    angle, scale, *shift = (torch.empty(len(grays)).uniform_(-most, most) for most in (0.21, 0.12, 0.125, 0.125))
    turn = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos()), dim=1).reshape(-1, 2, 2)
    affine = torch.cat((turn * (1 + scale)[:, None, None], torch.stack(shift, dim=1)[:, :, None]), dim=2)  # [B, 2, 3]
    grid = functional.affine_grid(affine, list(grays.shape), align_corners=False)
    return functional.grid_sample(grays.float(), grid, align_corners=False)


def optimizer_of(model: nn.Module) -> torch.optim.AdamW:
    """AdamW without decay on biases, norms and position tables; frozen shift kernels are left out."""
    named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    plain = {name for name, value in named if value.ndim == 1 or any(part in name for part in NO_DECAY)}
    groups: list[dict[str, Any]] = [
        {"params": [value for name, value in named if name not in plain]},
        {"params": [value for name, value in named if name in plain], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)


def rate(step: int, steps: int) -> float:
    """The learning rate of a step over the peak rate: a linear rise, then half a cosine to zero."""
    rise = max(1, round(WARM_UP * steps))
    return (step + 1) / rise if step < rise else 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module) -> None:
    """Moves every weight of `ema` towards `model`; `lerp` keeps what is equal, the shift kernels, to the last bit.

    Buffers are copied: the statistics of BatchNorm are averages already, and would begin far from any image's.
    """
    for mean, value in zip(ema.parameters(), model.parameters(), strict=True):
        mean.lerp_(value, 1 - EMA_DECAY)
    for kept, buffer in zip(ema.buffers(), model.buffers(), strict=True):
        kept.copy_(buffer)


@torch.inference_mode()
def accuracy(model: nn.Module, grays: Tensor, classes: Tensor, side: int = SIDE) -> float:
    """The percentage of images whose largest logit is their class."""
    model.eval()
    guesses = torch.cat([model(normalise(batch, side)).argmax(1) for batch in torch.split(grays, 100)])
    return 100 * int((guesses == classes).sum()) / len(classes)


def train(
    model: nn.Module,
    grays: Tensor,
    classes: Tensor,
    epochs: int,
    side: int = SIDE,
    augmented: Callable[[Tensor], Tensor] = augment,
) -> nn.Module:
    """The EMA of the weights after training `model` in place."""
    ema, optimizer = copy.deepcopy(model), optimizer_of(model)
    steps = epochs * math.ceil(len(grays) / BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps))
    model.train()
    for epoch in range(epochs):
        losses = []
        for chosen in torch.split(torch.randperm(len(grays)), BATCH):
            logits = model(normalise(augmented(grays[chosen]), side))
            loss = functional.cross_entropy(logits, classes[chosen], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
            optimizer.step()
            schedule.step()
            update_ema(ema, model)
            losses.append(loss.item())
        if (epoch + 1) % 5 == 0 or epoch + 1 == epochs:
            click.echo(f"epoch {epoch + 1:3} of {epochs}: loss {np.mean(losses):.3f}", err=True)
    return ema


def write_checkpoint(out: Path, tree: CfgNode, model: nn.Module, ema: nn.Module, best: float, epochs: int) -> None:
    """Writes upstream's dict without optimizer and schedule, beside `out` first and then renamed."""
    tree.freeze()  # as upstream does before it saves
    whole = {"model": model.state_dict(), "state_dict_ema": ema.state_dict(), "max_accuracy": best}
    partial = out.with_name(out.name + ".partial")
    torch.save(whole | {"epoch": epochs - 1, "config": tree}, partial)
    partial.replace(out)


def write_images(folder: Path, grays: Tensor, classes: Tensor, indices: Tensor) -> None:
    """Writes `folder`/<class>/<index in load_digits>.png, beside `folder` first and then renamed whole."""
    partial = folder.with_name(folder.name + ".partial")
    for index in indices.tolist():
        path = partial / str(classes[index].item()) / f"{index:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grays[index, 0].numpy()).save(path, optimize=True)
    partial.rename(folder)


@click.command()
@click.option("--family", type=click.Choice(["slide_swin", *CONFIGS]), default="slide_swin", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="digits.pth", show_default=True, help="The checkpoint.")
@click.option("--epochs", type=click.IntRange(min=1), default=30, show_default=True, help="Times through the images.")
@click.option("--seed", default=0, show_default=True, help="Of weights, order and augmentation; the split is fixed.")
@click.option("--heldout", type=click.Path(path_type=Path), help="New directory for the held-out images.")
def main(family: str, out: Path, epochs: int, seed: int, heldout: Path | None) -> None:
    """Trains the model and prints the checkpoint's path."""
    if not out.parent.is_dir():
        raise click.UsageError(f"--out must be in a directory; {out.parent} is none")
    if heldout is not None and heldout.exists():
        raise click.UsageError(f"--heldout must be a new directory; {heldout} exists")
    torch.manual_seed(seed)
    torch.set_num_threads(2)  # the order of sums, and so the last digits, follow the number of threads
    grays, classes = draw_digits()
    chosen, held_out = split(classes)
    tree = config_tree(family)
    side = np.ravel(tree["DATA"]["IMG_SIZE"])[0].item()
    start, model = time.perf_counter(), build_model(tree)
    ema = train(model, grays[chosen], classes[chosen], epochs, side)
    seconds = time.perf_counter() - start
    raw, mean = (accuracy(each, grays[held_out], classes[held_out], side) for each in (model, ema))
    size = sum(value.numel() for value in model.parameters())
    click.echo(f"held-out accuracy {raw:.1f} % (EMA {mean:.1f} %), {size:,} parameters, {seconds:.0f} s", err=True)
    write_checkpoint(out, tree, model, ema, raw, epochs)
    if heldout is not None:
        write_images(heldout, grays, classes, held_out)
    click.echo(out)


if __name__ == "__main__":
    main()
