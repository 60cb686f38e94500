"""CBAM in ResNet-18, 34, 50, 101: every residual branch is weighed by channel, then by position.

    x1 = x  * sigmoid(MLP(mean of the map) + MLP(largest of the map))       per channel, one MLP for both
    x2 = x1 * sigmoid(BN(conv7x7([largest channel, mean of the channels])))  per position

Source: Jongchan/attention-module 459efad, MODELS/cbam.py and MODELS/model_resnet.py; Woo et al., ECCV 2018, section 3.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from . import config_tree
from .batch_norm import NormedConvolution
from .family import Family, Published, ShapeError, State
from .resnet import COUNTERS, STAGES, ResNet, ResNetConfig, attention_names, infer_resnet, read_data, without_counts

REDUCTION = 16  # channels over the MLP's hidden width
NAME = "cbam"


@dataclass(frozen=True)
class CbamConfig(ResNetConfig):
    """The numbers of one ResNet with CBAM; `ResNetConfig` has them all."""

    @property
    def corner(self) -> int:
        """Side of the top-left part of the last map that is averaged: a larger input is classified from a corner.

        Source: MODELS/model_resnet.py, ResNet: `AvgPool2d(7)`, for CIFAR `avg_pool2d(4)`, and a head for one result.
        """
        return 4 if self.cifar else 7


class CbamResNet(ResNet):
    """ResNet with CBAM in every residual block."""

    def __init__(self, config: CbamConfig) -> None:
        super().__init__(config, NAME, Cbam)


class Cbam(nn.Module):
    """Channel gate, then spatial gate.

    Args:
        dim: channels C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.ChannelGate = ChannelGate(dim)
        self.SpatialGate = SpatialGate()

    def forward(self, x: Tensor) -> Tensor:
        """The weighed map, [B, C, H, W] for x [B, C, H, W]."""
        return self.SpatialGate(self.ChannelGate(x))


class ChannelGate(nn.Module):
    """A weight for each channel, from the mean and the maximum of its map through one MLP."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = dim // REDUCTION
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """The weighed map, [B, C, H, W] for x [B, C, H, W]."""
        # Reductions, not pools with the map as kernel: those fix the batch in the exporter (a SymbolicValueError).
        weight = self.mlp(x.mean(dim=(2, 3))) + self.mlp(x.amax(dim=(2, 3)))  # [B, C]
        return x * weight.sigmoid()[:, :, None, None]


class SpatialGate(nn.Module):
    """A weight for each position, from the maximum and the mean over the channels: in this order."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = SpatialConvolution()

    def forward(self, x: Tensor) -> Tensor:
        """The weighed map, [B, C, H, W] for x [B, C, H, W]."""
        pooled = torch.cat((x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)), dim=1)  # [B, 2, H, W]
        return x * self.spatial(pooled).sigmoid()


class SpatialConvolution(nn.Module):
    """7x7 convolution from two channels to one, and its BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(1, momentum=0.01)
        self.conv = NormedConvolution(2, 1, 7, self.bn)

    def forward(self, x: Tensor) -> Tensor:
        """The logit of each position, [B, 1, H, W] for x [B, 2, H, W]."""
        return self.conv(x)


def matches(state: State) -> bool:
    """Whether the keys are those of a ResNet with CBAM."""
    return "conv1.weight" in state and bool(attention_names(state, r"ChannelGate\.mlp\.1\.weight"))


def infer(state: State) -> CbamConfig:
    """The configuration that the shapes of a state dict tell, for input 224, or 32 where the stem is CIFAR's.

    Raises:
        ShapeError: the shapes fit no such model, or it has CBAM without the spatial gate or BAM.
    """
    if any(key.startswith("bam") for key in state):
        raise ShapeError("BAM between the stages, which is another attention")
    if not attention_names(state, r"SpatialGate\."):
        raise ShapeError("CBAM without its spatial gate, which no published model is")
    return CbamConfig(**asdict(infer_resnet(state)))


def resize(config: CbamConfig, size: CbamConfig) -> CbamConfig:
    """Copy `config` with the blocks of `size`."""
    return replace(config, depths=size.depths, bottleneck=size.bottleneck, width=size.width)


def remarks(config: CbamConfig) -> tuple[str, ...]:
    """Say where an input is classified from a part of its last map."""
    side, (rows, cols) = config.corner, config.resolution(STAGES - 1)
    if (rows, cols) == (side, side):
        return ()
    return (f"classified from the top-left {side}x{side} of a last map of {rows}x{cols}, as upstream does",)


def read_config(tree: Mapping[str, Any]) -> CbamConfig | None:
    """The configuration in a tree of this project's form; upstream saves none."""
    return config_tree.read_config(tree, "cbam", CbamConfig)


VARIANTS = {
    "cbam_resnet18": CbamConfig((2, 2, 2, 2), bottleneck=False),
    "cbam_resnet34": CbamConfig((3, 4, 6, 3), bottleneck=False),
    "cbam_resnet50": CbamConfig((3, 4, 6, 3), bottleneck=True),
    "cbam_resnet101": CbamConfig((3, 4, 23, 3), bottleneck=True),
}

PAPER = "Woo et al., ECCV 2018, table 4"
PUBLISHED = {
    "cbam_resnet18": Published(11.78, 1.815, 70.73, PAPER),
    "cbam_resnet34": Published(21.96, 3.665, 74.01, PAPER),
    "cbam_resnet50": Published(28.09, 3.864, 77.34, f"{PAPER}; the README's own file: 77.622"),
    "cbam_resnet101": Published(49.33, 7.581, 78.49, PAPER),
}

FAMILY = Family(
    name="cbam",
    variants=VARIANTS,
    matches=matches,
    infer=infer,
    resize=resize,
    read_config=read_config,
    read_data=read_data,
    build=CbamResNet,
    canonical=without_counts,
    remarks=remarks,
    assumed="no shape tells the input: 224x224 (32x32 behind a stem of CIFAR); upstream classifies a larger one from "
    "the top-left 7x7 (4x4) of its last map, and so does this model",
    optional=COUNTERS,
    published=PUBLISHED,
)
