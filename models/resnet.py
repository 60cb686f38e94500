"""ResNet with an attention block in every residual block, between the last BatchNorm and the addition.

What CBAM and GAM share. Every BatchNorm stands right behind a convolution, into which the inference form folds it.
Source: Jongchan/attention-module 459efad, MODELS/model_resnet.py; the key names are torchvision's.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from .batch_norm import NormedConvolution
from .data import DataConfig
from .data_tree import data_from_tree
from .family import ShapeError, State, classes, classifier, depths

STAGES = 4
CIFAR_SIDE = 32
COUNTERS = (".num_batches_tracked",)  # of training alone; files of before torch 0.4.1 lack them


@dataclass(frozen=True)
class ResNetConfig:
    """The numbers of one ResNet.

    Attributes:
        depths: blocks of each stage.
        bottleneck: blocks of three convolutions (1x1, 3x3, 1x1) whose output is four times as wide, instead of two 3x3.
        width: channels of the first stage's convolutions; upstream's is always 64.
        cifar: the network for 32x32 images: a 3x3 stem of stride 1, no max pool.
        image_size: rows and columns of the input.
    """

    depths: tuple[int, ...]
    bottleneck: bool
    width: int = 64
    cifar: bool = False
    image_size: tuple[int, int] = (224, 224)
    num_classes: int = 1000

    @property
    def expansion(self) -> int:
        """Width of a block's output over that of its convolutions."""
        return 4 if self.bottleneck else 1

    def resolution(self, stage: int) -> tuple[int, int]:
        """Rows and columns of the map of a stage (0-based): every halving rounds up."""
        stride = (1 if self.cifar else 4) << stage
        return -(-self.image_size[0] // stride), -(-self.image_size[1] // stride)

    def at(self, image_size: tuple[int, int]) -> Self:
        """This configuration for another input size.

        Raises:
            ShapeError: the last map cannot be averaged as the model averages it.
        """
        config = replace(self, image_size=image_size)
        corner, last = config.corner, config.resolution(STAGES - 1)
        if corner and not all(corner <= side < 2 * corner for side in last):
            stride = (1 if self.cifar else 4) << (STAGES - 1)
            raise ShapeError(
                f"a last map of {last[0]}x{last[1]}, of which the model averages the first {corner}x{corner}: "
                f"expected sides of {(corner - 1) * stride + 1} to {(2 * corner - 1) * stride} pixels"
            )
        return config

    @property
    def corner(self) -> int:
        """Side of the top-left part of the last map that is averaged, 0 for the whole map."""
        return 0


class ResNet(nn.Module):
    """Stem, four stages of residual blocks, mean of the last map's corner, linear head.

    Args:
        name: what a residual block calls its attention block.
        attention: makes the attention block for a number of channels.
    """

    def __init__(self, config: ResNetConfig, name: str, attention: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.cifar, self.corner = config.cifar, config.corner
        kernel, stride = (3, 1) if config.cifar else (7, 2)
        self.bn1 = nn.BatchNorm2d(config.width)
        self.conv1 = NormedConvolution(3, config.width, kernel, self.bn1, stride)
        inputs = config.width
        for stage, count in enumerate(config.depths):
            width, blocks = config.width << stage, []
            for index in range(count):
                stride = 2 if stage and not index else 1
                block = (Bottleneck if config.bottleneck else BasicBlock)(inputs, width, stride)
                inputs = width * config.expansion
                block.attend_with(name, attention(inputs))
                blocks.append(block)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = classifier(inputs, config.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes] of normalised images [B, 3, H, W]; without a head, the mean it would see."""
        last = self.features(images)[-1]
        if self.corner:
            last = last[:, :, : self.corner, : self.corner]
        return self.fc(last.mean(dim=(2, 3)))

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """The map of each stage, [B, C, H, W] at strides 4, 8, 16, 32 (CIFAR: 1, 2, 4, 8)."""
        x, maps = self.conv1(images).relu(), []
        if not self.cifar:
            x = functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        for stage in range(1, STAGES + 1):
            x = self.get_submodule(f"layer{stage}")(x)
            maps.append(x)
        return tuple(maps)


class ResidualBlock(nn.Module):
    """A branch, an attention block behind it, and what is added to both."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self._attention = ""  # underscores: a checkpoint may call its block by any plain name
        changes = stride != 1 or inputs != outputs
        self.downsample = Shortcut(inputs, outputs, stride) if changes else None

    def attend_with(self, name: str, attention: nn.Module) -> None:
        """Put the attention block behind the branch, under this name."""
        self._attention = name
        self.add_module(name, attention)

    def forward(self, x: Tensor) -> Tensor:
        """The block's map [B, outputs, H/stride, W/stride] for x [B, inputs, H, W]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return (self.get_submodule(self._attention)(self._branch(x)) + shortcut).relu()

    def _branch(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Shortcut(nn.Module):
    """1x1 convolution and BatchNorm around a branch that changes the map's size; a Sequential's key names."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        norm = nn.BatchNorm2d(outputs)
        self.add_module("0", NormedConvolution(inputs, outputs, 1, norm, stride))
        self.add_module("1", norm)

    def forward(self, x: Tensor) -> Tensor:
        """The map [B, outputs, H/stride, W/stride] of x [B, inputs, H, W]."""
        return self.get_submodule("0")(x)


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions; the first one strides."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__(inputs, width, stride)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.conv1 = NormedConvolution(inputs, width, 3, self.bn1, stride)
        self.conv2 = NormedConvolution(width, width, 3, self.bn2)

    def _branch(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x).relu())


class Bottleneck(ResidualBlock):
    """1x1, 3x3 and 1x1 convolutions; the 3x3 one strides, the last is four times as wide."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__(inputs, 4 * width, stride)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm2d(width), nn.BatchNorm2d(width), nn.BatchNorm2d(4 * width)
        self.conv1 = NormedConvolution(inputs, width, 1, self.bn1)
        self.conv2 = NormedConvolution(width, width, 3, self.bn2, stride)
        self.conv3 = NormedConvolution(width, 4 * width, 1, self.bn3)

    def _branch(self, x: Tensor) -> Tensor:
        return self.conv3(self.conv2(self.conv1(x).relu()).relu())


def infer_resnet(state: State) -> ResNetConfig:
    """The configuration that the shapes of a ResNet's state dict tell; no shape tells the input, 224 or CIFAR's 32.

    Raises:
        ShapeError: the shapes fit no such model.
    """
    if "conv1.weight" not in state:
        raise ShapeError("no conv1.weight, a ResNet's stem")
    stages, kernel = depths(state, r"layer(\d+)\.(\d+)\."), state["conv1.weight"].shape[2]
    if len(stages) != STAGES or kernel not in (3, 7):
        raise ShapeError(
            f"{len(stages)} stages behind a stem of {kernel}x{kernel}, where 4 behind 7x7 or 3x3 are expected"
        )
    cifar = kernel == 3
    return ResNetConfig(
        depths=stages,
        bottleneck="layer1.0.conv3.weight" in state,
        width=state["conv1.weight"].shape[0],
        cifar=cifar,
        image_size=(CIFAR_SIDE, CIFAR_SIDE) if cifar else ResNetConfig.image_size,
        num_classes=classes(state, "fc"),
    )


def without_counts(state: State) -> State:
    """Zero the number of batches that each BatchNorm was trained on, which no inference reads."""
    return {key: torch.zeros_like(value) if key.endswith(COUNTERS) else value for key, value in state.items()}


def attention_names(state: State, block: str) -> set[str]:
    """What the residual blocks call the attention blocks whose keys go on as the pattern `block` says."""
    pattern = re.compile(rf"layer\d+\.\d+\.(\w+)\.{block}")
    return {found[1] for key in state if (found := pattern.match(key))}


def read_data(tree: Mapping[str, Any] | None, config: ResNetConfig) -> DataConfig:
    """Short side to 256/224 of the input, bilinear, centre crop; CIFAR's network takes the image whole.

    Source: Jongchan/attention-module 459efad, train_imagenet.py: Scale(256), torchvision's default filter. Upstream
    trains nothing on CIFAR, so mean and standard deviation of that network are ImageNet's unless a config says others.
    """
    whole = DataConfig(interpolation="bilinear", keep_aspect=False, scale=1.0)
    return data_from_tree(tree, whole if config.cifar else DataConfig(interpolation="bilinear"))
