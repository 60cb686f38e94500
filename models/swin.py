"""Swin Transformer T, S, B, L: four stages of window attention.

Source: microsoft/Swin-Transformer f82860b, models/swin_transformer.py and configs/swin/.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from torch import Tensor, nn

from . import config_tree, swin_tree
from .data import DataConfig
from .data_tree import WHOLE_IMAGE, data_from_tree
from .family import (
    Family,
    Published,
    ShapeError,
    State,
    UntoldError,
    classes,
    classifier,
    clusters,
    depths,
    handed_on,
    slides,
)
from .feature_norms import FeatureNorms
from .layers import NORM_EPS, PatchEmbed, PatchMerging
from .model_value import ACTIVATION, WINDOW, ModelValue, one_of, trained_size
from .slide_attention import SlideBlock
from .window_attention import SmallMaps, WindowBlock, WindowRule, Windows, resize_table, window_size
from .window_tables import TABLE, check_window, is_square, told_window

PATCH = 4
REBUILT = (".relative_position_index", ".attn_mask")  # buffers that follow from the configuration


@dataclass(frozen=True)
class SwinConfig:
    """The numbers of one Swin or Slide-Swin.

    Attributes:
        image_size: rows and columns of the input.
        window: rows and columns of a window; a stage no larger than its window attends globally.
        slide_stages: how many stages, from the first, use slide attention.
        kernel_size: side k of the slide neighbourhood.
        resized_window: of another input size: "scale" keeps the number of windows a side, "keep" the window; "floor"
            scales and rounds down, as timm's set_input_size does; "fixed" refuses another size, because windows and
            shifts stay those of the trained maps (timm, strict_img_size=False).
        small_maps: what becomes of a window that is no smaller than its map; see `WindowRule`.
        roll_first: whether a shifted map is rolled before it is padded.
        whole_patches: whether rows and columns that make no whole patch are dropped, not padded (timm, torchvision).
        activation: of the MLPs.
        norm_eps: epsilon of the blocks' and the last LayerNorm; the others have LayerNorm's own.
        feature_norms: the stages (0-based) whose maps `features` norms; the last stage's norm is the classifier's.
        feature_stages: the stages whose maps `features` hands on; empty of all.
    """

    embed_dim: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: tuple[int, int] = (7, 7)
    image_size: tuple[int, int] = (224, 224)
    num_classes: int = 1000
    slide_stages: int = 0
    kernel_size: int = 3
    mlp_ratio: float = 4.0
    resized_window: Literal["scale", "floor", "keep", "fixed"] = "scale"
    small_maps: SmallMaps = "shrink"
    roll_first: bool = False
    whole_patches: bool = False
    activation: str = "gelu"
    norm_eps: float = NORM_EPS
    feature_norms: tuple[int, ...] = ()
    feature_stages: tuple[int, ...] = ()

    @property
    def rule(self) -> WindowRule:
        """What becomes of windows that do not fit a map."""
        return WindowRule(self.small_maps, self.roll_first)

    def resolution(self, stage: int) -> tuple[int, int]:
        """Rows and columns of a stage's map (0-based stage)."""
        rows, cols = (side - side % PATCH if self.whole_patches else side for side in self.image_size)
        stride = PATCH * 2**stage
        return math.ceil(rows / stride), math.ceil(cols / stride)

    def at(self, image_size: tuple[int, int]) -> "SwinConfig":
        """Same model at another input size, by default with as many windows a side as before.

        Source: Swin's own 384 models: window 7 at 224 becomes window 12 at 384.

        Raises:
            ShapeError: a map would be smaller than a window that does not shrink, or windows are fixed.
        """
        if self.resized_window == "fixed" and image_size != self.image_size:
            raise ShapeError("windows and shifts that are fixed for the trained size (strict_img_size=False)")
        resized = replace(self, image_size=image_size)
        if self.resized_window in ("scale", "floor"):
            whole = math.floor if self.resized_window == "floor" else round
            pairs = zip(self.window, image_size, self.image_size, strict=True)
            rows, cols = (max(1, whole(w * new / old)) for w, new, old in pairs)
            resized = replace(resized, window=(rows, cols))
        refuse_small_maps(resized)
        return resized


def refuse_small_maps(config: SwinConfig) -> None:
    """Refuse a map that is shorter than its window where the library that trained the model cannot run it.

    Raises:
        ShapeError: there is one.
    """
    for stage in range(len(config.depths)):
        rows, cols = config.resolution(stage)
        if config.small_maps == "joint" and (rows < config.window[0] or cols < config.window[1]):
            raise ShapeError(
                f"a map of {rows}x{cols} in stage {stage + 1}, smaller than its window of "
                f"{config.window[0]}x{config.window[1]}, which the library that wrote the checkpoint cannot run"
            )


class SwinTransformer(FeatureNorms):
    """Patch embedding, stages of blocks with patch merging between them, LayerNorm, mean, linear head."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config.embed_dim, PATCH, whole=config.whole_patches)
        self.layers = nn.ModuleList(Stage(config, stage) for stage in range(len(config.depths)))
        widths = tuple(config.embed_dim << stage for stage in range(len(config.depths)))
        self.norm = nn.LayerNorm(widths[-1], eps=config.norm_eps)
        self.head = classifier(widths[-1], config.num_classes)
        self.add_feature_norms(config.feature_norms, widths, config.norm_eps)
        self.feature_stages = config.feature_stages

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes] of normalised images [B, 3, H, W]; without a head, the mean it would see."""
        x = self.patch_embed(images)
        for stage in self.layers:
            x = stage(x)
        return self.head(self.norm(x).mean(dim=(1, 2)))

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps of the stages that are handed on, [B, C, H, W] at strides 4 to 32, for a detector or segmenter."""
        x, maps = self.patch_embed(images), []
        for number, stage in enumerate(self.layers):
            if not isinstance(stage, Stage):
                raise TypeError(f"expected a Stage in layers, found {type(stage).__name__}")
            x = stage.attend(x)
            maps.append(self.normed(x, number).permute(0, 3, 1, 2))
            x = stage.merge(x)
        return handed_on(self.feature_stages, maps)


class Stage(nn.Module):
    """Blocks at one resolution, then patch merging except after the last stage."""

    def __init__(self, config: SwinConfig, stage: int) -> None:
        super().__init__()
        dim = config.embed_dim * 2**stage
        self.blocks = nn.ModuleList(_block(config, stage, dim, index) for index in range(config.depths[stage]))
        self.downsample = PatchMerging(dim) if stage + 1 < len(config.depths) else None

    def forward(self, x: Tensor) -> Tensor:
        """Run the blocks, then merge patches: [B, H, W, C] -> [B, H/2, W/2, 2C]."""
        return self.merge(self.attend(x))

    def attend(self, x: Tensor) -> Tensor:
        """Run the stage's blocks: [B, H, W, C] -> [B, H, W, C]."""
        for block in self.blocks:
            x = block(x)
        return x

    def merge(self, x: Tensor) -> Tensor:
        """Merge patches: [B, H, W, C] -> [B, H/2, W/2, 2C]; the identity in the last stage."""
        return x if self.downsample is None else self.downsample(x)


def _block(config: SwinConfig, stage: int, dim: int, index: int) -> nn.Module:
    if stage < config.slide_stages:
        return SlideBlock(dim, config.heads[stage], config.kernel_size, config.mlp_ratio)
    return WindowBlock(
        dim,
        config.heads[stage],
        Windows(config.resolution(stage), config.window, shifted=index % 2 == 1, rule=config.rule),
        mlp_ratio=config.mlp_ratio,
        activation=config.activation,
        eps=config.norm_eps,
    )


def matches(state: State) -> bool:
    """Whether the keys are those of a Swin without slide and content attention."""
    return is_swin(state) and not slides(state) and not clusters(state)


def infer(state: State, *, window: tuple[int, int] | None = None) -> SwinConfig:
    """Infer the configuration of a Swin or Slide-Swin from its tensor shapes.

    The window is that of the widest table; a stage with a smaller table has a map of that size, which tells the input
    size. Where all tables are alike a shift mask tells it or, without one, the last stage: its map is one window in
    every published model.

    Args:
        state: the tensors.
        window: where somebody tells it; a table of windows that are no square leaves their sides open.

    Raises:
        ShapeError: the shapes fit no such model, or leave the window open.
    """
    stages = depths(state, r"layers\.(\d+)\.blocks\.(\d+)\.")
    tables = [state.get(f"layers.{n}.blocks.0.attn.relative_position_bias_table") for n in range(len(stages))]
    if any(table is None for table in tables):
        raise ShapeError("a stage has no layers.N.blocks.0.attn.relative_position_bias_table")
    present = [table for table in tables if table is not None]
    slide = [table for table in present if table.ndim == 6]
    windows = [math.isqrt(table.shape[0]) // 2 + 1 for table in present if table.ndim == 2]
    if len(slide) + len(windows) != len(stages) or any(table.ndim == 6 for table in present[len(slide) :]):
        raise ShapeError("slide attention must stand in the first stages and window attention in the others")
    if any(later > earlier for earlier, later in pairwise(windows)):
        raise ShapeError(
            f"windows of {', '.join(map(str, windows))} in the stages: a model whose windows differ (Swin-S3)"
        )
    oblong = next((table.shape[0] for table in present if table.ndim == 2 and not is_square(table.shape[0])), 0)
    if oblong and window is None:
        raise UntoldError(f"a table of {oblong} positions, which no square window has", "window_size", "8x10")
    side = _image_side(state, windows, len(stages))
    cols = window[1] * PATCH << (len(stages) - 1) if oblong and window else side
    rows = window[0] * PATCH << (len(stages) - 1) if oblong and window else side
    return SwinConfig(
        embed_dim=state["patch_embed.proj.weight"].shape[0],
        depths=stages,
        heads=tuple(table.shape[1] for table in present),
        window=window or (max(windows, default=7),) * 2,
        image_size=(rows, cols),
        num_classes=classes(state),
        slide_stages=len(slide),
        kernel_size=math.isqrt(slide[0].shape[3]) if slide else 3,
        mlp_ratio=state["layers.0.blocks.0.mlp.fc1.bias"].shape[0] / state["patch_embed.proj.weight"].shape[0],
    )


def read_config(tree: Mapping[str, Any]) -> SwinConfig:
    """The configuration in upstream's config tree (Slide-Transformer config.py).

    Raises:
        IncompleteError: it does not tell the whole model.
        ShapeError: it says what no model here does.
    """
    return SwinConfig(**swin_tree.read_fields(tree))


def read_data(tree: Mapping[str, Any] | None, config: SwinConfig) -> DataConfig:
    """Swin's preprocessing: short side to 256/224 of the input, bicubic, centre crop; from 384 on no crop.

    Source: Swin data/build.py, build_transform; `TEST.CROP False`, which the 384 models have, resizes both sides and
    crops nothing. `DATA.MEAN` and `DATA.STD` are this project's addition: upstream's code has them as constants.
    """
    told = "CROP" in config_tree.branch(tree, "TEST")
    whole = min(config.image_size) >= WHOLE_IMAGE and not told
    return data_from_tree(tree, DataConfig(keep_aspect=False, scale=1.0) if whole else DataConfig())


def adapt(state: State, trained: SwinConfig, wanted: SwinConfig) -> State:
    """Resize the window bias tables to `wanted` and drop the buffers that the model rebuilds."""
    adapted = {key: value for key, value in state.items() if not key.endswith(REBUILT)}
    for key, table in adapted.items():
        stage = re.fullmatch(r"layers\.(\d+)\.blocks\.\d+\.attn\.relative_position_bias_table", key)
        if stage is None or table.ndim != 2:
            continue
        old, new = (_window(config, int(stage[1])) for config in (trained, wanted))
        if old != new:
            adapted[key] = resize_table(table.float(), old, new)
    return adapted


def _window(config: SwinConfig, stage: int) -> tuple[int, int]:
    return window_size(config.window, config.resolution(stage), config.rule)


def is_swin(state: State) -> bool:
    """Whether the keys are those of a Swin with any attention."""
    return "patch_embed.proj.weight" in state and any(key.startswith("layers.0.blocks.0.attn.") for key in state)


def _image_side(state: State, windows: list[int], stages: int) -> int:
    """Rows of the input: from a window cut to its map, else from a shift mask, else from the last window."""
    masks = {int(key.split(".")[1]): value for key, value in state.items() if key.endswith(".attn_mask")}
    if windows and windows[-1] == max(windows) and masks:
        stage, mask = next(iter(masks.items()))
        return math.isqrt(mask.shape[0]) * math.isqrt(mask.shape[1]) * PATCH << stage
    return windows[-1] * PATCH << (stages - 1) if windows else 224


def told_size(state: State) -> tuple[int, int] | None:
    """Input that a window cut to its map or a shift mask tells; None where every stage's table is alike."""
    tables = [table for key, table in state.items() if key.endswith(TABLE) and table.ndim == 2]
    masked = any(key.endswith(".attn_mask") for key in state)
    sizes = {table.shape[0] for table in tables}
    told = (masked or len(sizes) > 1) and all(map(is_square, sizes))
    return infer(state).image_size if told else None


def resize(config: SwinConfig, size: SwinConfig) -> SwinConfig:
    """Copy `config` with the widths, depths and heads of `size`."""
    return replace(config, embed_dim=size.embed_dim, depths=size.depths, heads=size.heads)


_BASE = SwinConfig(128, (2, 2, 18, 2), (4, 8, 16, 32))
_LARGE = SwinConfig(192, (2, 2, 18, 2), (6, 12, 24, 48))

VARIANTS = {
    "swin_tiny": SwinConfig(96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "swin_small": SwinConfig(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "swin_base": _BASE,
    "swin_large": _LARGE,
    "swin_base_384": _BASE.at((384, 384)),
    "swin_large_384": _LARGE.at((384, 384)),
}

README = "microsoft/Swin-Transformer f82860b, README.md"
PUBLISHED = {
    "swin_tiny": Published(28, 4.5, 81.2, README),
    "swin_small": Published(50, 8.7, 83.2, README),
    "swin_base": Published(88, 15.4, 83.5, README),
    "swin_large": Published(197, 34.5, 86.3, f"{README}, pretrained on ImageNet-22K"),
    "swin_base_384": Published(88, 47.1, 84.5, README),
    "swin_large_384": Published(197, 103.9, 87.3, f"{README}, pretrained on ImageNet-22K"),
}

FAMILY = Family(
    name="swin",
    variants=VARIANTS,
    matches=matches,
    infer=infer,
    resize=resize,
    read_config=read_config,
    read_data=read_data,
    build=SwinTransformer,
    adapt=adapt,
    values=(
        trained_size("32 times the window, as published; 224x224 where every stage slides", told_size, resizes=False),
        ModelValue(
            "window",
            one_of({"keep": "keep", "scale": "scale", "floor": "floor"}),
            "what becomes of windows at another input size: as many a side, as large, or as many rounded down",
            "as many a side",
            field="resized_window",
            assumed=False,
        ),
        ModelValue(
            "window_size",
            WINDOW,
            "rows and columns of a window, where they differ and no file tells them",
            "the square that the tables have",
            field="window",
            needed=True,
            assumed=False,
            told=told_window,
            check=check_window,
        ),
        ACTIVATION,
    ),
    optional=REBUILT,
    published=PUBLISHED,
)
