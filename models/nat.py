"""NAT Mini, Tiny, Small, Base: four levels of neighbourhood attention with kernel 7.

Source: SHI-Labs/Neighborhood-Attention-Transformer d334f5b, classification/nat.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from . import config_tree
from .data import DataConfig
from .data_tree import data_from_tree
from .family import Family, Published, ShapeError, State, classes, classifier, depths, slides
from .feature_norms import FeatureNorms
from .layers import NORM_EPS, Mlp
from .model_value import ACTIVATION, ModelValue, numbers, trained_size
from .neighborhood_attention import NeighborhoodAttention, grown
from .slide_attention import SlideAttention

SLIDE_KERNEL = 3


@dataclass(frozen=True)
class NatConfig:
    """The numbers of one NAT or Slide-NAT.

    Attributes:
        kernel_size: side k of the neighbourhood.
        layer_scale: what the residual scales start from; None: there are none.
        image_size: rows and columns of the input.
        slide_stages: the levels (0-based) with slide attention in the place of neighbourhood attention.
        slide_kernel: side of the slide neighbourhood.
        dilations: of each block of each level, the distance of two neighbours (DiNAT); none: they touch.
        norm_eps: epsilon of the blocks' and the last LayerNorm.
        activation: of the MLPs.
        feature_norms: the levels (0-based) whose maps `features` norms; the last level's norm is the classifier's.
    """

    embed_dim: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    mlp_ratio: float
    layer_scale: float | None = None
    kernel_size: int = 7
    image_size: tuple[int, int] = (224, 224)
    num_classes: int = 1000
    slide_stages: tuple[int, ...] = ()
    slide_kernel: int = SLIDE_KERNEL
    dilations: tuple[tuple[int, ...], ...] = ()
    norm_eps: float = NORM_EPS
    activation: str = "gelu"
    feature_norms: tuple[int, ...] = ()

    def resolution(self, stage: int) -> tuple[int, int]:
        """Rows and columns of a level's map (0-based level): every convolution halves, rounded up."""
        rows, cols = (-(-side // (4 << stage)) for side in self.image_size)
        return rows, cols

    def at(self, image_size: tuple[int, int]) -> "NatConfig":
        """Same model at another input size.

        Raises:
            ShapeError: a dilation does not divide its map.
        """
        config = replace(self, image_size=image_size)
        refuse_uneven(config)
        return config


def refuse_uneven(config: NatConfig) -> None:
    """Refuse a map whose rows or columns a dilation parts unevenly.

    Raises:
        ShapeError: there is one.
    """
    for level, dilations in enumerate(config.dilations):
        for dilation in dilations:
            rows, cols = grown(config.resolution(level), config.kernel_size, dilation)
            if rows % dilation or cols % dilation:
                raise ShapeError(
                    f"a map of {rows}x{cols} in level {level + 1}, which its dilation {dilation} does not divide"
                )


class Nat(FeatureNorms):
    """Two convolutions, levels of blocks with strided convolutions between them, LayerNorm, mean, linear head."""

    def __init__(self, config: NatConfig) -> None:
        super().__init__()
        self.patch_embed = Tokenizer(config.embed_dim)
        self.levels = nn.ModuleList(Level(config, level) for level in range(len(config.depths)))
        width = config.embed_dim * 2 ** (len(config.depths) - 1)
        self.norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.head = classifier(width, config.num_classes)
        widths = tuple(config.embed_dim << level for level in range(len(config.depths)))
        self.add_feature_norms(config.feature_norms, widths, config.norm_eps)

    def forward(self, images: Tensor) -> Tensor:
        """Classify normalised images: [B, 3, H, W] -> logits [B, classes]."""
        return self.head(self.norm(self.maps(images)[-1]).mean(dim=(1, 2)))

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map of each level, [B, C, H, W] at strides 4, 8, 16, 32, for the neck of a detector or segmenter."""
        return tuple(self.normed(x, level).permute(0, 3, 1, 2) for level, x in enumerate(self.maps(images)))

    def maps(self, images: Tensor) -> list[Tensor]:
        """Map of each level before it is halved, [B, H, W, C]."""
        x, maps = self.patch_embed(images), []
        for level in self.levels:
            whole, x = level(x)
            maps.append(whole)
        return maps


class Tokenizer(nn.Module):
    """Two 3x3 convolutions of stride 2 with nothing between them, then LayerNorm."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.Conv2d(3, dim // 2, kernel_size=3, stride=2, padding=1),
            nn.Conv2d(dim // 2, dim, kernel_size=3, stride=2, padding=1),
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, images: Tensor) -> Tensor:
        """Embed patches of 4x4 by two strided convolutions: [B, 3, H, W] -> [B, ceil(H/4), ceil(W/4), dim]."""
        return self.norm(self.proj(images).permute(0, 2, 3, 1))


class Downsampler(nn.Module):
    """Halve the resolution and double the width: a strided 3x3 convolution without bias, then LayerNorm."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Conv2d(dim, 2 * dim, kernel_size=3, stride=2, padding=1, bias=False)
        self.norm = nn.LayerNorm(2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Halve the map by a strided convolution: [B, H, W, C] -> [B, ceil(H/2), ceil(W/2), 2C]."""
        return self.norm(self.reduction(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class Level(nn.Module):
    """Blocks at one resolution, then a downsampler except after the last level."""

    def __init__(self, config: NatConfig, level: int) -> None:
        super().__init__()
        dim = config.embed_dim * 2**level
        self.blocks = nn.ModuleList(Block(config, level, dim, index) for index in range(config.depths[level]))
        self.downsample = Downsampler(dim) if level + 1 < len(config.depths) else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map after this level's blocks, [B, H, W, C], and what the next level takes; after the last, the map again."""
        for block in self.blocks:
            x = block(x)
        return x, x if self.downsample is None else self.downsample(x)


class Block(nn.Module):
    """Pre-norm block: attention, then an MLP, each with a residual that may have a learned scale."""

    def __init__(self, config: NatConfig, level: int, dim: int, index: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=config.norm_eps)
        self.attn = _attention(config, level, dim, index)
        self.norm2 = nn.LayerNorm(dim, eps=config.norm_eps)
        self.mlp = Mlp(dim, int(dim * config.mlp_ratio), activation=config.activation)
        self.scaled = config.layer_scale is not None
        if config.layer_scale is not None:
            self.gamma1 = nn.Parameter(torch.full((dim,), config.layer_scale))
            self.gamma2 = nn.Parameter(torch.full((dim,), config.layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """Attention and MLP with residuals, each scaled by gamma where trained so: [B, H, W, C] -> [B, H, W, C]."""
        if not self.scaled:
            x = x + self.attn(self.norm1(x))
            return x + self.mlp(self.norm2(x))
        x = x + self.gamma1 * self.attn(self.norm1(x))
        return x + self.gamma2 * self.mlp(self.norm2(x))


def _attention(config: NatConfig, level: int, dim: int, index: int) -> nn.Module:
    if level in config.slide_stages:
        return SlideAttention(dim, config.heads[level], config.slide_kernel)
    dilation = config.dilations[level][index] if config.dilations else 1
    return NeighborhoodAttention(dim, config.heads[level], config.resolution(level), config.kernel_size, dilation)


def is_nat(state: State) -> bool:
    """Whether the keys are those of a NAT with any attention."""
    return "levels.0.blocks.0.attn.qkv.weight" in state and "patch_embed.proj.1.weight" in state


def infer(state: State) -> NatConfig:
    """Infer the configuration of a NAT or Slide-NAT from its tensor shapes, for input 224.

    Raises:
        ShapeError: the shapes fit no such model.
    """
    levels = depths(state, r"levels\.(\d+)\.blocks\.(\d+)\.")
    places = [f"levels.{level}.blocks.0.attn." for level in range(len(levels))]
    tables = [state.get(place + "rpb") for place in places]
    slide = [state.get(place + "relative_position_bias_table") for place in places]
    both = [slid if own is None else own.unsqueeze(0) for own, slid in zip(tables, slide, strict=True)]
    if any(table is None for table in both):
        raise ShapeError("a level has neither attn.rpb nor attn.relative_position_bias_table in its first block")
    embed_dim = state["patch_embed.norm.weight"].shape[0]
    gamma = state.get("levels.0.blocks.0.gamma1")
    return NatConfig(
        embed_dim=embed_dim,
        depths=levels,
        heads=tuple(table.shape[1] for table in both if table is not None),
        mlp_ratio=state["levels.0.blocks.0.mlp.fc1.bias"].shape[0] / embed_dim,
        layer_scale=None if gamma is None else LAYER_SCALE,
        kernel_size=next((table.shape[1] // 2 + 1 for table in tables if table is not None), NatConfig.kernel_size),
        num_classes=classes(state),
        slide_stages=tuple(level for level, table in enumerate(slide) if table is not None),
        slide_kernel=next((round(table.shape[3] ** 0.5) for table in slide if table is not None), SLIDE_KERNEL),
    )


def read_data(tree: Mapping[str, Any] | None, _config: NatConfig) -> DataConfig:
    """NAT's preprocessing, timm's default: short side to 1/0.875 of the input, bicubic, centre crop.

    Source: NAT classification/validate.py, `resolve_data_config` of a model without a default_cfg.
    """
    return data_from_tree(tree, DataConfig(scale=1 / 0.875))


def resize(config: NatConfig, size: NatConfig) -> NatConfig:
    """Copy `config` with the widths, depths, heads and residual scales of `size`."""
    return replace(
        config,
        embed_dim=size.embed_dim,
        depths=size.depths,
        heads=size.heads,
        mlp_ratio=size.mlp_ratio,
        layer_scale=size.layer_scale,
    )


LAYER_SCALE = 1e-5

VARIANTS = {
    "nat_mini": NatConfig(64, (3, 4, 6, 5), (2, 4, 8, 16), 3.0),
    "nat_tiny": NatConfig(64, (3, 4, 18, 5), (2, 4, 8, 16), 3.0),
    "nat_small": NatConfig(96, (3, 4, 18, 5), (3, 6, 12, 24), 2.0, LAYER_SCALE),
    "nat_base": NatConfig(128, (3, 4, 18, 5), (4, 8, 16, 32), 2.0, LAYER_SCALE),
}

README = "SHI-Labs/Neighborhood-Attention-Transformer d334f5b, NAT.md"
PUBLISHED = {
    "nat_mini": Published(20, 2.7, 81.8, README),
    "nat_tiny": Published(28, 4.3, 83.2, README),
    "nat_small": Published(51, 7.8, 83.7, README),
    "nat_base": Published(90, 13.7, 84.3, README),
}

_GROUPS = numbers("level by level, 1,2,1/1,4,1,4/...", apart="/")
DILATIONS = replace(
    _GROUPS,
    read=lambda text: () if text == "1" else _GROUPS.read(text),
    show=lambda dilations: _GROUPS.show(dilations) if dilations else "1",
)
VALUES = (
    trained_size("224x224, as published"),
    ModelValue(
        "dilations",
        DILATIONS,
        "distance of two neighbours in each block of each level; 1: they touch everywhere",
        "neighbours touch in every NAT, while a DiNAT has the same keys",
    ),
    ACTIVATION,
)

FAMILY = Family(
    name="nat",
    variants=VARIANTS,
    matches=lambda state: is_nat(state) and not slides(state),
    infer=infer,
    resize=resize,
    read_config=lambda tree: config_tree.read_config(tree, "nat", NatConfig),
    read_data=read_data,
    build=Nat,
    values=VALUES,
    published=PUBLISHED,
)
