"""The smallest model that sorts: patches, one content attention over 14x14 of them, mean, head."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slide_export.core.artifact import ModelIO
from slide_export.core.model import Model, Provenance
from slide_export.inference.served import ServedModel, serve
from slide_export.models import DataConfig
from slide_export.models.content_attention import ContentAttention
from tests.conftest import randomise

SIDE, WIDTH, HEADS, CLASSES = 14, 8, 2, 5


@dataclass(frozen=True)
class ToyConfig:
    image_size: tuple[int, int] = (SIDE, SIDE)
    num_classes: int = CLASSES

    def at(self, image_size: tuple[int, int]) -> "ToyConfig":
        return replace(self, image_size=image_size)


class SortingToy(nn.Module):
    """Scores [B, K] of images [B, 3, 14, 14]."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, WIDTH, 1, bias=False)
        self.attn = ContentAttention(WIDTH, HEADS, (SIDE, SIDE))
        self.mlp, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = self.embed(images).permute(0, 2, 3, 1)
        x = x + self.attn(x)
        return self.head(self.mlp(x).sigmoid().mean(dim=(1, 2)))


def served() -> ServedModel:
    torch.manual_seed(0)
    module = randomise(SortingToy()).requires_grad_(False)
    module.attn.qkv.bias[:WIDTH] = 0  # so that the queries of grey tokens have one direction, whatever their brightness
    data = DataConfig(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    model = Model(module, "toy", "toy", ToyConfig(), data, Provenance(Path("toy.pth"), "", "raw"))
    return serve(model, ModelIO())


def pictures(*, flat: bool, count: int = 4) -> NDArray[np.uint8]:
    """Noise [B, H, W, 3]; or noise whose lower half is grey: other tokens, whose keys tie up to rounding."""
    drawn = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    if flat:
        drawn[:, SIDE // 2 :] = 1 + drawn[:, SIDE // 2 :, :, :1] // 2
    return drawn
