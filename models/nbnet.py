"""NBNet: predicts an image's noise, a U-Net whose skip connections are projected onto a learned basis.

    V = 16 maps of [up, skip];   skip becomes its projection onto the span of V's maps, for each channel

Upstream computes the projection as V (V^T V)^-1 V^T with rows of V^T divided by their L1 norm; the projection is the
same for any basis of the span, and targets have no inverse. Here the basis is made orthonormal by Gram-Schmidt, run
twice, which is also 50 times as exact in float32 as the inverse.

The clean image is `images - model(images)`. The projection looks at the whole image, so tiles give another result.

Source: MegEngine/NBNet 73112b1, model.py, UNetD; Cheng et al., arXiv 2012.15028, equations 2 and 3. Twice is enough:
Giraud et al., The loss of orthogonality in the Gram-Schmidt orthogonalization process, 2005.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from . import config_tree
from .data import DataConfig
from .family import Family, ShapeError, State
from .model_value import ModelValue, ValueKind

SLOPE = 0.2  # of the blocks inside `subnet` and `skip_m`, whatever the model's own
SMALLEST = 1e-6  # of a norm, as upstream adds to it; float16 holds it
FLOAT32 = ("up_path.*.projection",)
"""Modules whose sums over the whole image overflow in float16."""
REMARK = (
    "the projection looks at the whole image: a tile gives another result than its part of the image, so export at "
    "the size of your images"
)


@dataclass(frozen=True)
class NbNetConfig:
    """The numbers of one NBNet.

    Attributes:
        channels: of the image.
        width: channels of the first level; each level has twice as many.
        depth: levels; the sides are multiples of 2^(depth - 1).
        slope: of the LeakyReLUs; no shape tells it, and every published model has 0.2.
        subspace: maps of the basis.
        skip_width: channels inside the skip connections; upstream's is always 128.
        image_size: rows and columns of the image.
        num_classes: 0: an image has none.
    """

    channels: int = 3
    width: int = 32
    depth: int = 5
    slope: float = 0.2
    subspace: int = 16
    skip_width: int = 128
    image_size: tuple[int, int] = (256, 256)
    num_classes: int = 0

    def at(self, image_size: tuple[int, int]) -> "NbNetConfig":
        """This configuration for another size.

        Raises:
            ShapeError: a side does not halve at every level.
        """
        multiple = 1 << (self.depth - 1)
        if any(side < multiple or side % multiple for side in image_size):
            raise ShapeError(f"an image of {image_size[0]}x{image_size[1]}, where sides are multiples of {multiple}")
        return replace(self, image_size=image_size)


class NbNet(nn.Module):
    """Levels down, levels up with projected skip connections, 3x3 convolution.

    Raises:
        ShapeError: the image's sides do not halve at every level.
    """

    def __init__(self, config: NbNetConfig) -> None:
        super().__init__()
        config.at(config.image_size)
        widths = [config.width << level for level in range(config.depth)]
        inputs = (config.channels, *widths)
        self.down_path = nn.ModuleList(
            ConvBlock(inputs[level], width, config.slope, downsamples=level + 1 < config.depth)
            for level, width in enumerate(widths)
        )
        self.up_path = nn.ModuleList(
            UpBlock(2 * width, width, config, repeats=index + 1) for index, width in enumerate(reversed(widths[:-1]))
        )
        self.last = nn.Conv2d(config.width, config.channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """The noise of images in 0..1, [B, 3, H, W] both."""
        x, skips = images, []
        for level, block in enumerate(self.down_path):
            x = block(x)
            if level + 1 < len(self.down_path):
                skips.append(x)
                x = block.get_submodule("downsample")(x)
        for block, skip in zip(self.up_path, reversed(skips), strict=True):
            x = block(x, skip)
        return self.last(x)


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with LeakyReLUs and a 1x1 convolution around them; on the way down, what halves the map."""

    def __init__(self, inputs: int, outputs: int, slope: float = SLOPE, *, downsamples: bool = False) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.LeakyReLU(slope),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.LeakyReLU(slope),
        )
        self.downsample = nn.Conv2d(outputs, outputs, 4, stride=2, padding=1, bias=False) if downsamples else None
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The map [B, outputs, H, W] of x [B, inputs, H, W], before it is halved."""
        return self.block(x) + self.shortcut(x)


class UpBlock(nn.Module):
    """Doubles the map, joins it with the projected skip connection, convolves.

    Args:
        repeats: blocks that the skip connection has at least; two are always there.
    """

    def __init__(self, inputs: int, outputs: int, config: NbNetConfig, *, repeats: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.conv_block = ConvBlock(inputs, outputs, config.slope)
        self.subnet = Chain(inputs, [config.subspace])
        middle = [config.skip_width] * (max(repeats, 2) - 1)
        self.skip_m = Chain(outputs, [*middle, outputs])
        self.projection = Projection(config.subspace)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """The map [B, outputs, 2H, 2W] of x [B, inputs, H, W] and skip [B, outputs, 2H, 2W]."""
        up, skip = self.up(x), self.skip_m(skip)
        basis = self.subnet(torch.cat((up, skip), dim=1))  # [B, K, 2H, 2W]
        return self.conv_block(torch.cat((up, self.projection(basis, skip)), dim=1))


class Chain(nn.Module):
    """Blocks one after the other, and a 1x1 convolution around them all."""

    def __init__(self, inputs: int, widths: list[int]) -> None:
        super().__init__()
        pairs = zip((inputs, *widths), widths, strict=False)
        self.blocks = nn.Sequential(*(ConvBlock(before, after) for before, after in pairs))
        self.shortcut = nn.Conv2d(inputs, widths[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """The map [B, widths[-1], H, W] of x [B, inputs, H, W]."""
        return self.blocks(x) + self.shortcut(x)


class Projection(nn.Module):
    """Projects each channel of a map onto the span of K others; a module of its own so that it can stay in float32."""

    def __init__(self, subspace: int) -> None:
        super().__init__()
        self.subspace = subspace

    def forward(self, basis: Tensor, x: Tensor) -> Tensor:
        """The projection [B, C, H, W] of x [B, C, H, W] onto the maps of basis [B, K, H, W]."""
        _, dim, rows, cols = x.shape
        q = orthonormal(basis.reshape(-1, self.subspace, rows * cols), self.subspace)  # [B, K, HW]
        flat = x.reshape(-1, dim, rows * cols)  # [B, C, HW]
        return (flat @ q.transpose(1, 2) @ q).reshape(-1, dim, rows, cols)


def orthonormal(vectors: Tensor, count: int) -> Tensor:
    """An orthonormal basis of the span of `count` vectors [B, K, n], as rows: Gram-Schmidt, each step run twice.

    Once leaves errors of the condition times the rounding, 1e4 here; twice, of the rounding alone. Norms are taken of
    means, since float16 holds no sum of 65536 squares.
    """
    rows = vectors.split(1, dim=1)  # each [B, 1, n]
    basis = _unit(rows[0])
    for index in range(1, count):
        row = rows[index]
        for _ in range(2):
            row = row - row @ basis.transpose(1, 2) @ basis
        basis = torch.cat((basis, _unit(row)), dim=1)
    return basis


def _unit(row: Tensor) -> Tensor:
    """A row [B, 1, n] over its norm; a row of nothing stays one."""
    spread = row.square().mean(dim=-1, keepdim=True).sqrt()
    return row / (spread * math.sqrt(row.shape[-1])).clamp(min=SMALLEST)


def matches(state: State) -> bool:
    """Whether the keys are those of an NBNet."""
    return "down_path.0.block.0.weight" in state and "up_path.0.subnet.shortcut.weight" in state


def infer(state: State) -> NbNetConfig:
    """The configuration that the shapes of a state dict tell, all but the slope and the image's size.

    Raises:
        ShapeError: the shapes fit no such model.
    """
    depth = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("down_path."))
    if depth < 2:
        raise ShapeError("one level, where at least two are expected")
    width, channels = state["down_path.0.block.0.weight"].shape[:2]
    return NbNetConfig(
        channels=channels,
        width=width,
        depth=depth,
        subspace=state["up_path.0.subnet.shortcut.weight"].shape[0],
        skip_width=state["up_path.0.skip_m.blocks.0.block.0.weight"].shape[0],
    )


def resize(config: NbNetConfig, size: NbNetConfig) -> NbNetConfig:
    """Copy `config` with the widths and levels of `size`."""
    return replace(size, image_size=config.image_size)


def read_config(tree: Mapping[str, Any]) -> NbNetConfig | None:
    """The configuration in a tree of this project's form; upstream saves none."""
    return config_tree.read_config(tree, "nbnet", NbNetConfig)


def read_data(_tree: Mapping[str, Any] | None, _config: NbNetConfig) -> DataConfig:
    """No mean and no standard deviation; a picture is cut, not resized, which would change its noise.

    Source: dataset.py: images as float32 in 0..1, training patches cut.
    """
    return DataConfig((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear", scale=1.0, resizes=False)


def from_megengine(state: State) -> dict[str, Tensor]:
    """The state dict in torch's shapes: MegEngine keeps a convolution's bias as [1, C, 1, 1]."""
    return {
        key: value.reshape(-1) if key.endswith(".bias") and value.shape == (1, value.numel(), 1, 1) else value
        for key, value in state.items()
    }


def _slope(text: str) -> float:
    slope = float(text)
    if not 0 <= slope <= 1:
        raise ValueError(text)
    return slope


VARIANTS = {"nbnet": NbNetConfig()}

FAMILY = Family(
    name="nbnet",
    variants=VARIANTS,
    matches=matches,
    infer=infer,
    resize=resize,
    read_config=read_config,
    read_data=read_data,
    build=NbNet,
    canonical=from_megengine,
    assumed="no shape tells the image's size: 256x256 as SIDD's blocks",
    values=(
        ModelValue(
            "slope",
            ValueKind("a number of 0 to 1, 0.2", _slope, lambda slope: f"{slope:g}"),
            "slope of the LeakyReLUs on the way down and up",
            "0.2, as every published model has",
        ),
    ),
    task="restore",
    has_classes=False,
    remarks=lambda _config: (REMARK,),
    float32=FLOAT32,
)
"""The authors state a PSNR alone, 39.765 dB on SIDD."""
