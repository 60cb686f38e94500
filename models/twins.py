"""Twins-PCPVT and Twins-SVT S, B, L: pyramids with a convolution for positions after the first block of each stage.

PCPVT's blocks all attend to a reduced map, as PVT's do. In SVT the blocks take turns: attention inside windows, then to
a reduced map. No shape tells the heads, a window, how a map that windows do not divide is padded, or the input.

Upstream's detection and segmentation code has the same backbone with a norm after each stage (`norm_list`); it gives
the four maps and no logits.
Source: Meituan-AutoML/Twins c1ff671, gvt.py, CPVTV2 and ALTGVT; detection/gvt.py; segmentation/gvt.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from . import config_tree
from .conv_mlp import ChannelsLastConv, with_identity
from .family import Family, Published, ShapeError, State, classes, classifier, depths
from .group_attention import PADDINGS, GroupAttention
from .layers import ConvEmbed, Mlp, Numbered
from .model_value import ModelValue, numbers, one_of
from .pvt import read_data
from .spatial_reduction import EPS, ReducedAttention, ReducedBlock

PATCH = 4
WINDOW = 7  # of every published SVT
HEADS: dict[tuple[int, ...], tuple[int, ...]] = {
    (64, 128, 320, 512): (1, 2, 5, 8),
    (64, 128, 256, 512): (2, 4, 8, 16),
    (96, 192, 384, 768): (3, 6, 12, 24),
    (128, 256, 512, 1024): (4, 8, 16, 32),
}
"""The heads of the published widths, which no shape tells: 64 channels a head in PCPVT, 32 in SVT."""


@dataclass(frozen=True)
class TwinsConfig:
    """The numbers of one Twins.

    Attributes:
        mlp_ratios: hidden width of each stage's MLPs over its width.
        reductions: side of the square of tokens that becomes one key, in each stage.
        windows: side of the windows of every other block of each stage, from the first; 1: no block has windows.
        padding: what is done with a map that windows do not divide; see `group_attention`.
        stage_norms: whether a norm follows each stage (upstream `extra_norm`): the backbone of a detector or segmenter.
        image_size: rows and columns of the input.
        norm_eps: epsilon of the blocks' and the last LayerNorm; the others have LayerNorm's own.
        normed_stages: the stages (0-based) before the last whose norm the next stage sees (mmpretrain
            `norm_after_stage`); unlike with `stage_norms` there are logits.
        refuse_remainder: whether an input that the strides leave a remainder of is refused, because the library that
            trained the model pads it; upstream drops the remainder.
    """

    embed_dims: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    mlp_ratios: tuple[float, ...] = (4.0, 4.0, 4.0, 4.0)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    windows: tuple[int, ...] = (1, 1, 1, 1)
    padding: str = "refuse"
    stage_norms: bool = False
    image_size: tuple[int, int] = (224, 224)
    num_classes: int = 1000
    norm_eps: float = EPS
    normed_stages: tuple[int, ...] = ()
    refuse_remainder: bool = False

    @property
    def has_logits(self) -> bool:
        """Whether the head is used: upstream's detectors and segmenters have one in the file and never run it."""
        return not self.stage_norms

    def resolution(self, stage: int) -> tuple[int, int]:
        """Rows and columns of the map of a stage (0-based); a remainder is dropped."""
        return self.image_size[0] // (PATCH << stage), self.image_size[1] // (PATCH << stage)

    def has_windows(self, stage: int, block: int) -> bool:
        """Whether a block attends inside windows."""
        return self.windows[stage] > 1 and block % 2 == 0

    def at(self, image_size: tuple[int, int]) -> "TwinsConfig":
        """Make this configuration for another input size.

        Raises:
            ShapeError: a stage would have nothing to look at, windows that do not divide its map, or a remainder.
        """
        config, stride = replace(self, image_size=image_size), PATCH << (len(self.depths) - 1)
        if self.refuse_remainder and any(side % stride for side in image_size):
            raise ShapeError(f"sides of {image_size[0]} and {image_size[1]}, of which {stride} is no divisor")
        for stage, (reduction, window) in enumerate(zip(self.reductions, self.windows, strict=True)):
            rows, cols = config.resolution(stage)
            if min(rows, cols) < reduction:
                raise ShapeError(f"a map of {rows}x{cols} in stage {stage + 1}, which needs {reduction} a side")
            if self.padding == "refuse" and (rows % window or cols % window):
                raise ShapeError(
                    f"a map of {rows}x{cols} in stage {stage + 1}, which windows of {window}x{window} do not divide"
                )
        return config


class Twins(nn.Module):
    """Four times patch embedding and blocks, a convolution for positions after the first; LayerNorm, mean, head."""

    def __init__(self, config: TwinsConfig) -> None:
        super().__init__()
        self.config, stages = config, range(len(config.depths))
        inputs = (3, *config.embed_dims)
        patches = (PATCH, *(2 for _ in stages[1:]))
        self.patch_embeds = Numbered(
            ConvEmbed(inputs[stage], config.embed_dims[stage], patches[stage], patches[stage]) for stage in stages
        )
        self.pos_block = Numbered(PositionalConv(dim) for dim in config.embed_dims)
        self.blocks = Numbered(
            Numbered(_block(config, stage, block) for block in range(config.depths[stage])) for stage in stages
        )
        if config.stage_norms:
            self.norm_list = Numbered(nn.LayerNorm(dim, eps=EPS) for dim in config.embed_dims)
        for stage in config.normed_stages:
            self.add_module(f"norm_after_stage{stage}", nn.LayerNorm(config.embed_dims[stage], eps=config.norm_eps))
        self.norm = nn.LayerNorm(config.embed_dims[-1], eps=config.norm_eps)
        self.head = classifier(config.embed_dims[-1], config.num_classes)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Compute logits [B, classes] of normalised images [B, 3, H, W]; with stage norms the maps, as upstream."""
        if self.config.stage_norms:
            return self.features(images)
        return self.head(self.norm(self.maps(images)[-1]).mean(dim=(1, 2)))

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the map of each stage, [B, C, H, W] at strides 4, 8, 16, 32, for a detector's or segmenter's neck.

        Source: segmentation/gvt.py, forward_features: after the stage's norm, where it has one.
        """
        return tuple(x.permute(0, 3, 1, 2) for x in self.maps(images))

    def maps(self, images: Tensor) -> list[Tensor]:
        """Compute the map of each stage, [B, H, W, C]; a norm after a stage is also seen by the stages behind it."""
        x, maps = images, []
        for stage, depth in enumerate(self.config.depths):
            x = self.patch_embeds(x, stage)
            for block in range(depth):
                x = self.blocks(x, stage, block)
                x = x if block else self.pos_block(x, stage)
            if self.config.stage_norms:
                x = self.norm_list(x, stage)
            elif stage in self.config.normed_stages:
                x = self.get_submodule(f"norm_after_stage{stage}")(x)
            maps.append(x)
            x = x.permute(0, 3, 1, 2)
        return maps


class PositionalConv(nn.Module):
    """Adds a depthwise 3x3 convolution of the map to it, whose zeros around the map tell positions.

    Source: gvt.py, PosCNN; CPVT (arXiv 2102.10882), positional encoding generator.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1, groups=dim))

    def forward(self, x: Tensor) -> Tensor:
        """Add positions to x [B, H, W, C]."""
        return x + self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def fuse(self) -> ChannelsLastConv:
        """Make the inference form: the sum is in the middle of the kernels."""
        (conv,) = self.proj
        if not isinstance(conv, nn.Conv2d):
            raise TypeError(f"expected a convolution for positions, found {type(conv).__name__}")
        return ChannelsLastConv(with_identity(conv))

    reparameterize = fuse


def _block(config: TwinsConfig, stage: int, block: int) -> nn.Module:
    dim, heads = config.embed_dims[stage], config.heads[stage]
    attention: nn.Module
    if config.has_windows(stage, block):
        attention = GroupAttention(dim, heads, config.resolution(stage), config.windows[stage], config.padding)
    else:
        attention = ReducedAttention(dim, heads, config.reductions[stage])
    return ReducedBlock(dim, attention, Mlp(dim, int(dim * config.mlp_ratios[stage])), eps=config.norm_eps)


def matches(state: State) -> bool:
    """Whether the keys are those of a Twins."""
    return "patch_embeds.0.proj.weight" in state and "pos_block.0.proj.0.weight" in state


def infer(state: State, heads: tuple[int, ...] | None = None) -> TwinsConfig:
    """Read the configuration that the shapes of a Twins state dict tell, for input 224.

    Args:
        heads: of each stage; None takes those of the published widths.

    Raises:
        ShapeError: the shapes fit no such model, or leave its heads open.
    """
    blocks = depths(state, r"blocks\.(\d+)\.(\d+)\.")
    stages = range(len(blocks))
    dims = tuple(state[f"patch_embeds.{stage}.proj.weight"].shape[0] for stage in stages)
    heads = heads or HEADS.get(dims)
    if heads is None:
        raise ShapeError(f"widths {dims}, whose heads no shape tells")
    has_windows = [f"blocks.{stage}.0.attn.qkv.weight" in state for stage in stages]
    stage_norms = "norm_list.0.weight" in state
    return TwinsConfig(
        embed_dims=dims,
        depths=blocks,
        heads=heads,
        mlp_ratios=tuple(state[f"blocks.{n}.0.mlp.fc1.bias"].shape[0] / dim for n, dim in enumerate(dims)),
        reductions=tuple(_reduction(state, stage, int(has_windows[stage])) for stage in stages),
        windows=tuple(WINDOW if own else 1 for own in has_windows),
        padding="zeros" if stage_norms and any(has_windows) else TwinsConfig.padding,
        stage_norms=stage_norms,
        normed_stages=tuple(n for n in stages if f"norm_after_stage{n}.weight" in state),
        num_classes=classes(state),
    )


def _reduction(state: State, stage: int, block: int) -> int:
    """Read a stage's reduction from its first block that attends to a reduced map."""
    conv = state.get(f"blocks.{stage}.{block}.attn.sr.weight")
    return 1 if conv is None else conv.shape[2]


def told_windows(state: State) -> tuple[int, ...] | None:
    """Windows that the shapes tell: none anywhere, where every block attends to a reduced map."""
    stages = range(len(depths(state, r"blocks\.(\d+)\.(\d+)\.")))
    alone = all(f"blocks.{stage}.0.attn.qkv.weight" not in state for stage in stages)
    return tuple(1 for _ in stages) if alone else None


def refuse_windows(state: State, windows: tuple[int, ...]) -> None:
    """Refuse windows that the blocks cannot have.

    Raises:
        ShapeError: there is not one for each stage, or a stage has windows where its blocks have none.
    """
    stages = range(len(depths(state, r"blocks\.(\d+)\.(\d+)\.")))
    has_windows = [f"blocks.{stage}.0.attn.qkv.weight" in state for stage in stages]
    if [window > 1 for window in windows] != has_windows:
        own = ",".join("window" if own else "1" for own in has_windows)
        raise ShapeError(f"windows {','.join(map(str, windows))}, where the blocks of each stage have {own}")


def with_windows(config: TwinsConfig, windows: tuple[int, ...]) -> TwinsConfig:
    """Make `config` with other windows, at the input nearest its own whose maps they divide where they have to."""
    step = math.lcm(*((PATCH << stage) * window for stage, window in enumerate(windows)))
    if config.padding != "refuse" or not any(side % step for side in config.image_size):
        return replace(config, windows=windows)
    rows, cols = (step * max(round(side / step), 1) for side in config.image_size)
    return replace(config, windows=windows, image_size=(rows, cols))


def resize(config: TwinsConfig, size: TwinsConfig) -> TwinsConfig:
    """Make `config` with the widths, depths, heads, ratios, reductions and windows of `size`."""
    return replace(
        config,
        embed_dims=size.embed_dims,
        depths=size.depths,
        heads=size.heads,
        mlp_ratios=size.mlp_ratios,
        reductions=size.reductions,
        windows=size.windows,
    )


def _pcpvt(*depths: int) -> TwinsConfig:
    return TwinsConfig((64, 128, 320, 512), depths, (1, 2, 5, 8), mlp_ratios=(8.0, 8.0, 4.0, 4.0))


def _svt(width: int, *depths: int) -> TwinsConfig:
    dims = tuple(width << stage for stage in range(4))
    return TwinsConfig(dims, depths, HEADS[dims], windows=(WINDOW,) * 4)


VARIANTS: Mapping[str, TwinsConfig] = {
    "twins_pcpvt_small": _pcpvt(3, 4, 6, 3),
    "twins_pcpvt_base": _pcpvt(3, 4, 18, 3),
    "twins_pcpvt_large": _pcpvt(3, 8, 27, 3),
    "twins_svt_small": _svt(64, 2, 2, 10, 4),
    "twins_svt_base": _svt(96, 2, 2, 18, 2),
    "twins_svt_large": _svt(128, 2, 2, 18, 2),
}

README = "Meituan-AutoML/Twins c1ff671, README.md"
PUBLISHED = {
    "twins_pcpvt_small": Published(24.1, 3.7, 81.2, README),
    "twins_pcpvt_base": Published(43.8, 6.4, 82.7, README),
    "twins_pcpvt_large": Published(60.9, 9.5, 83.1, README),
    "twins_svt_small": Published(24, 2.8, 81.7, README),
    "twins_svt_base": Published(56, 8.3, 83.2, README),
    "twins_svt_large": Published(99.2, 14.8, 83.7, README),
}

FAMILY = Family(
    name="twins",
    variants=VARIANTS,
    matches=matches,
    infer=infer,
    resize=resize,
    read_config=lambda tree: config_tree.read_config(tree, "twins", TwinsConfig),
    read_data=read_data,
    build=Twins,
    assumed="no shape tells the windows nor the input: 7x7 and 224x224; "
    "with norms after its stages, windows that do not divide a map see the zeros added to it, as in detection",
    values=(
        ModelValue(
            "heads",
            numbers("2,4,8,16"),
            "heads of each stage",
            "those of the published widths; other widths have to be told",
            needed=True,
        ),
        ModelValue(
            "windows",
            numbers("7,7,7,7"),
            "side of the windows of each stage",
            "7 as in every published SVT; of others the input nearest 224x224 that they divide",
            told=told_windows,
            check=refuse_windows,
            apply=with_windows,
        ),
        ModelValue(
            "padding",
            one_of({each: each for each in PADDINGS}),
            "what becomes of a map that windows do not divide: refused, or real tokens see the zeros added to it "
            "(detection), or do not where both sides get some (segmentation)",
            "refused; with norms after the stages the zeros are seen",
            assumed=False,
        ),
    ),
    published=PUBLISHED,
)
