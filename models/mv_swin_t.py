"""MV-Swin-T: two views of one breast, CC and MLO, through a Swin of two halves that is one from the third stage on.

    cc, mlo -> patches -> 2 stages of both views (in the second they look at each other) -> one map -> 2 stages -> logit

SwinV2's blocks: cosine attention, LayerNorm behind each branch, ReLU in the MLPs. Upstream's model ends in a sigmoid;
this one in the logit, and a sigmoid is put on by whoever serves it.

Source: prithuls/MV-Swin-T 10fdf46, models/mvswintransformer.py, models/multiviewutils.py, models/singleviewutils.py;
Sarker et al., arXiv 2402.16298. No weights are published.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from . import config_tree
from .cosine_attention import CosineAttention, FusedCosineAttention
from .data import DataConfig
from .family import Family, ShapeError, State, classes, depths
from .layers import PatchEmbed, squares
from .window_attention import Windows

PATCH = 4
STAGES = 4
SEPARATE = 2  # stages of two views
VIEWS = ("_1", "_2")
INPUTS = ("cc", "mlo")  # views 1 and 2
REBUILT = (
    ".relative_coords_table",
    ".relative_position_index",
    ".relative_position_index_1",
    ".relative_position_index_2",
    ".attn_mask",
)


@dataclass(frozen=True)
class MvSwinConfig:
    """The numbers of one MV-Swin-T.

    Attributes:
        window: side of a window; the fusion of the views fits only where it is 1/32 of the input's side.
        image_size: rows and columns of either view.
        num_classes: logits; 1 is a probability's.
        mixed_stages: the stages (0-based, of the first two) whose views look at each other.
    """

    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 12
    image_size: tuple[int, int] = (384, 384)
    num_classes: int = 1
    mlp_ratio: float = 4.0
    mixed_stages: tuple[int, ...] = (1,)

    def resolution(self, stage: int) -> tuple[int, int]:
        """Rows and columns of the map of a stage (0-based)."""
        stride = PATCH << stage
        return self.image_size[0] // stride, self.image_size[1] // stride

    def at(self, image_size: tuple[int, int]) -> "MvSwinConfig":
        """This configuration for the input that it has: the layer that fuses the views has one weight a token.

        Raises:
            ShapeError: for any other size.
        """
        if image_size != self.image_size:
            side = self.image_size[0]
            raise ShapeError(f"views fused by one weight a token, which were trained at {side}x{side} alone")
        return self


class MvSwinTransformer(nn.Module):
    """The two views' patches and stages, the layer that fuses them, the common stages, LayerNorm, mean, head.

    Raises:
        ShapeError: the window is not 1/32 of the input's side, or there are not four stages.
    """

    def __init__(self, config: MvSwinConfig) -> None:
        super().__init__()
        side = 32 * config.window
        if config.image_size != (side, side) or len(config.depths) != STAGES:
            raise ShapeError(
                f"{len(config.depths)} stages at {config.image_size}: expected 4 and, with windows of {config.window}, "
                f"{side}x{side}, whose tokens the fusing layer has weights for"
            )
        for view in VIEWS:
            self.add_module(f"patch_embed{view}", PatchEmbed(config.embed_dim, PATCH))
        self.layers = nn.ModuleList(Stage(config, stage, VIEWS) for stage in range(SEPARATE))
        rows, cols = config.resolution(SEPARATE)
        self.fc_layer_fused = nn.Linear(2 * rows * cols, rows * cols)
        self.layers_fused = nn.ModuleList(Stage(config, stage, ("",)) for stage in range(SEPARATE, STAGES))
        width = config.embed_dim << (STAGES - 1)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.num_classes)

    def forward(self, cc: Tensor, mlo: Tensor) -> Tensor:
        """Logits [B, classes] of two views of the same B breasts, each [B, 3, H, W] in 0..1."""
        views = self.views(cc, mlo)[-1]
        x = self.fuse_views(*views)
        for stage in self.layers_fused:
            (x,) = stage([x])
        return self.head(self.norm(x).mean(dim=(1, 2)))

    def views(self, cc: Tensor, mlo: Tensor) -> list[list[Tensor]]:
        """The two maps behind each of the first stages, merged, [B, H, W, C]."""
        pairs = zip(VIEWS, (cc, mlo), strict=True)
        maps, found = [self.get_submodule(f"patch_embed{view}")(images) for view, images in pairs], []
        for stage in self.layers:
            maps = stage(maps)
            found.append(maps)
        return found

    def fuse_views(self, first: Tensor, second: Tensor) -> Tensor:
        """One map [B, H, W, C] of two: each token a weighted sum of all tokens of both."""
        _, rows, cols, dim = first.shape
        tokens = torch.cat([x.reshape(-1, rows * cols, dim) for x in (first, second)], dim=1)  # [B, 2HW, C]
        return self.fc_layer_fused(tokens.transpose(1, 2)).transpose(1, 2).reshape(-1, rows, cols, dim)


class Stage(nn.Module):
    """Blocks at one resolution, then patch merging except after the last stage; of one view or two."""

    def __init__(self, config: MvSwinConfig, stage: int, views: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(views)
        dim = config.embed_dim << stage
        self.blocks = nn.ModuleList(
            Block(config, stage, views, shifted=index % 2 == 1) for index in range(config.depths[stage])
        )
        self.merges = stage + 1 < STAGES
        if self.merges:
            for view in views:
                self.add_module(f"downsample{view}", PatchMerging(dim))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The next stage's map of each view, [B, H/2, W/2, 2C], for [B, H, W, C]."""
        for block in self.blocks:
            maps = block(maps)
        if not self.merges:
            return list(maps)
        return [self.get_submodule(f"downsample{view}")(x) for view, x in zip(self.names, maps, strict=True)]


class PatchMerging(nn.Module):
    """Halves the resolution: each 2x2 square becomes one token of twice the width, normed afterwards."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """The merged map, [B, H/2, W/2, 2C] for x [B, H, W, C]."""
        return self.norm(self.reduction(squares(x)))


class Block(nn.Module):
    """(Shifted) window attention, then an MLP, each normed and added; of one view or two."""

    attn_mask: Tensor | None

    def __init__(self, config: MvSwinConfig, stage: int, views: Sequence[str], *, shifted: bool) -> None:
        super().__init__()
        self.names, dim = tuple(views), config.embed_dim << stage
        self.windows = Windows(config.resolution(stage), (config.window, config.window), shifted=shifted)
        mixes = stage in config.mixed_stages and len(views) > 1
        self.attn = CosineAttention(dim, config.heads[stage], self.windows.size, views, mixes=mixes)
        for view in views:
            self.add_module(f"norm1{view}", nn.LayerNorm(dim))
            self.add_module(f"norm2{view}", nn.LayerNorm(dim))
            self.add_module(f"mlp{view}", ReluMlp(dim, int(dim * config.mlp_ratio)))
        self.register_buffer("attn_mask", self.windows.mask())

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The map of each view, [B, H, W, C]."""
        return post_normed(self, maps, self.attn([self.windows.cut(x) for x in maps], self.attn_mask))

    def fuse(self) -> "FusedBlock":
        """This block's inference form, sharing the weights that stay as they are."""
        return FusedBlock(self)

    reparameterize = fuse


class FusedBlock(nn.Module):
    """The inference form of `Block`."""

    def __init__(self, trained: Block) -> None:
        super().__init__()
        self.names, self.windows = trained.names, trained.windows
        self.attn = FusedCosineAttention(trained.attn, trained.attn_mask)
        for view in self.names:
            for name in ("norm1", "norm2", "mlp"):
                self.add_module(f"{name}{view}", trained.get_submodule(f"{name}{view}"))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The map of each view, [B, H, W, C]."""
        return post_normed(self, maps, self.attn([self.windows.cut(x) for x in maps]))


class ReluMlp(nn.Module):
    """Two linear layers with a ReLU between them; upstream's text says GELU, its code does not."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """A tensor of x's shape, [..., C]."""
        return self.fc2(self.fc1(x).relu())


def post_normed(block: Block | FusedBlock, maps: Sequence[Tensor], attended: Sequence[Tensor]) -> list[Tensor]:
    """The maps [B, H, W, C] with normed attention and normed MLP added, for windows [B*nW, N, C] of attention."""
    results = []
    for view, x, windows in zip(block.names, maps, attended, strict=True):
        norm1, norm2, mlp = (block.get_submodule(f"{name}{view}") for name in ("norm1", "norm2", "mlp"))
        x = x + norm1(block.windows.join(windows))
        results.append(x + norm2(mlp(x)))
    return results


def matches(state: State) -> bool:
    """Whether the keys are those of an MV-Swin-T."""
    return "patch_embed_1.proj.weight" in state and "fc_layer_fused.weight" in state


def infer(state: State) -> MvSwinConfig:
    """The configuration that the shapes of a state dict tell, whole.

    Raises:
        ShapeError: the shapes fit no such model.
    """
    tokens = state["fc_layer_fused.weight"].shape[0]
    window = math.isqrt(tokens) // 2  # a map of 2 window x 2 window tokens is fused
    if tokens != 4 * window**2:
        raise ShapeError(f"a fusing layer for {tokens} tokens, where 4 windows of one size are expected")
    separate = depths(state, r"layers\.(\d+)\.blocks\.(\d+)\.")
    common = depths(state, r"layers_fused\.(\d+)\.blocks\.(\d+)\.")
    scales = [state[f"layers.{n}.blocks.0.attn.logit_scale_1"] for n in range(len(separate))]
    scales += [state[f"layers_fused.{n}.blocks.0.attn.logit_scale"] for n in range(len(common))]
    width = state["patch_embed_1.proj.weight"].shape[0]
    mixed = (n for n in range(len(separate)) if f"layers.{n}.blocks.0.attn.proj_concat_1.weight" in state)
    return MvSwinConfig(
        embed_dim=width,
        depths=separate + common,
        heads=tuple(scale.shape[0] for scale in scales),
        window=window,
        image_size=(32 * window, 32 * window),
        num_classes=classes(state),
        mlp_ratio=state["layers.0.blocks.0.mlp_1.fc1.bias"].shape[0] / width,
        mixed_stages=tuple(mixed),
    )


def resize(config: MvSwinConfig, size: MvSwinConfig) -> MvSwinConfig:
    """Copy `config` with the widths, depths and heads of `size`."""
    return replace(config, embed_dim=size.embed_dim, depths=size.depths, heads=size.heads)


def read_config(tree: Mapping[str, Any]) -> MvSwinConfig | None:
    """The configuration in a tree of this project's form; upstream saves none."""
    return config_tree.read_config(tree, "mv_swin_t", MvSwinConfig)


def read_data(_tree: Mapping[str, Any] | None, _config: MvSwinConfig) -> DataConfig:
    """Both sides of either view to the input's, bilinear; no mean and no standard deviation.

    Source: demo.ipynb: Resize((384, 384)), ToTensor.
    """
    return DataConfig(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), interpolation="bilinear", keep_aspect=False, scale=1.0)


VARIANTS = {"mv_swin_t": MvSwinConfig()}

FAMILY = Family(
    name="mv_swin_t",
    variants=VARIANTS,
    matches=matches,
    infer=infer,
    resize=resize,
    read_config=read_config,
    read_data=read_data,
    build=MvSwinTransformer,
    optional=REBUILT,
    task="classify_views",
    inputs=len(INPUTS),
)
