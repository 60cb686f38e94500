"""Three toy families with tasks of their own, to show that the centre takes what it was not written for.

pair      two images -> K scores                  one decision an image
pixels    one image  -> scores of K classes at    one decision a pixel
          each place of a map of half the size
restore   one image  -> one image                 no decision
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slide_export.core.artifact import ModelIO, Outputs
from slide_export.core.task import Task, same_file
from slide_export.models import DataConfig, Family

CLASSES = 5
SIDE = 16


@dataclass(frozen=True)
class ToyConfig:
    width: int = 8
    image_size: tuple[int, int] = (SIDE, SIDE)
    num_classes: int = CLASSES

    def at(self, image_size: tuple[int, int]) -> "ToyConfig":
        return replace(self, image_size=image_size)


class Pair(nn.Module):
    """Scores of the second image's colours at the places that the first one marks: not symmetric in its inputs."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(3, config.width, 4, stride=4) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(config.width), nn.Linear(config.width, config.num_classes)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        mixed = self.first(left).sigmoid() * self.second(right)
        return self.head(self.norm(mixed.flatten(2).mean(dim=2)))


class Pixels(nn.Module):
    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, config.width, 3, stride=2, padding=1)
        self.head = nn.Conv2d(config.width, config.num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.stem(image).relu())


class Restore(nn.Module):
    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.noise = nn.Sequential(
            nn.Conv2d(3, config.width, 3, padding=1), nn.ReLU(), nn.Conv2d(config.width, 3, 3, padding=1)
        )

    def forward(self, image: Tensor) -> Tensor:
        return image - self.noise(image)


def family(name: str, task: str, build: Callable[[ToyConfig], nn.Module], key: str) -> Family:
    def width(state: Mapping[str, Tensor]) -> ToyConfig:
        return ToyConfig(state[key].shape[0])

    return Family(
        name,
        variants={name: ToyConfig()},
        matches=lambda state: key in state,
        infer=width,
        resize=lambda config, _size: config,
        read_config=lambda _tree: None,
        read_data=lambda _tree, _config: DataConfig(keep_aspect=False, scale=1.0),
        build=build,
        task=task,
    )


def output(name: str) -> Callable[[ModelIO], tuple[str, ...]]:
    return lambda _io: (name,)


def forward(module: nn.Module, images: tuple[Tensor, ...], _io: ModelIO) -> tuple[Tensor, ...]:
    return (module(*images),)


def shapes(found: Outputs, _labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{name} {value.shape}" for name, value in found.items())


def views(file: Path) -> tuple[Path, ...]:
    """`left/1.png` -> `left/1.png, right/1.png`; a file elsewhere is no first input."""
    return (file, file.parents[1] / "right" / file.name) if file.parent.name == "left" else ()


PAIR = Task("pair", output("scores"), forward, shapes, inputs=("left", "right"), decision_axis=1, sample=views)
PIXELS = Task("pixels", output("scores"), forward, shapes, decision_axis=1)
RESTORE = Task("toy_restore", output("restored"), forward, shapes, sample=same_file)

FAMILIES: Mapping[str, tuple[Family, Task]] = {
    "pair": (family("pair", "pair", Pair, "first.weight"), PAIR),
    "pixels": (family("pixels", "pixels", Pixels, "stem.weight"), PIXELS),
    "restore": (family("restore", "toy_restore", Restore, "noise.0.weight"), RESTORE),
}


def save(name: str, path: Path) -> Path:
    torch.manual_seed(0)
    toy: Any = FAMILIES[name][0]
    torch.save(toy.build(ToyConfig()).state_dict(), path)
    return path
