"""PVT Tiny, Small, Medium, Large: four stages of attention to a reduced map, position embeddings, a class token.

Source: whai362/PVT 57e2dfa, classification/pvt.py. Not every number stands in a shape: the heads are known of the
published widths alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import config_tree, pyramid
from .data import DataConfig
from .data_tree import data_from_tree
from .family import Family, Published, ShapeError, State, classes, classifier, handed_on, slides
from .layers import NORM_EPS, ConvEmbed, Mlp
from .model_value import ACTIVATION, IMAGE_SIZE, ModelValue
from .slide_attention import SlideAttention
from .spatial_reduction import EPS, ReducedAttention, ReducedBlock

PATCH = 4


@dataclass(frozen=True)
class PvtConfig:
    """The numbers of one PVT or Slide-PVT.

    Attributes:
        mlp_ratios: hidden width of each stage's MLPs over its width.
        reductions: side of the square of tokens that becomes one key, in each stage.
        image_size: rows and columns of the input.
        slide_stages: the stages (0-based) with slide attention in the place of attention to a reduced map.
        kernel_size: side k of the slide neighbourhood.
        class_token: whether a class token is read in the last stage; else the mean of its map.
        norm_eps: epsilon of the blocks' and the last LayerNorm.
        embed_eps: epsilon of the patch embeddings' LayerNorm.
        reduced_eps: epsilon of the reduced map's LayerNorm.
        feature_stages: the stages (0-based) whose maps `features` hands on; empty of all.
        activation: of the MLPs.
    """

    embed_dims: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    mlp_ratios: tuple[float, ...] = (8.0, 8.0, 4.0, 4.0)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    image_size: tuple[int, int] = (224, 224)
    num_classes: int = 1000
    slide_stages: tuple[int, ...] = ()
    kernel_size: int = 3
    class_token: bool = True
    norm_eps: float = EPS
    embed_eps: float = NORM_EPS
    reduced_eps: float = NORM_EPS
    feature_stages: tuple[int, ...] = ()
    activation: str = "gelu"

    def resolution(self, stage: int) -> tuple[int, int]:
        """Rows and columns of a stage's map (0-based stage); a remainder is dropped."""
        return self.image_size[0] // (PATCH << stage), self.image_size[1] // (PATCH << stage)

    def at(self, image_size: tuple[int, int]) -> "PvtConfig":
        """Same model at another input size.

        Raises:
            ShapeError: a stage would have nothing to look at.
        """
        config = replace(self, image_size=image_size)
        pyramid.refuse_empty(config)
        return config


class PyramidVisionTransformer(nn.Module):
    """Four times patch embedding, position embedding and blocks; LayerNorm and linear head on the class token."""

    def __init__(self, config: PvtConfig) -> None:
        super().__init__()
        self.config, self.stages = config, len(config.depths)
        inputs = (3, *config.embed_dims)
        for stage, dim in enumerate(config.embed_dims):
            patch = 2 if stage else PATCH
            blocks = (_block(config, stage) for _ in range(config.depths[stage]))
            tokens = math.prod(config.resolution(stage)) + self._has_token(stage)
            self.add_module(
                f"patch_embed{stage + 1}", ConvEmbed(inputs[stage], dim, patch, patch, eps=config.embed_eps)
            )
            self.register_parameter(f"pos_embed{stage + 1}", _embedding(tokens, dim))
            self.add_module(f"block{stage + 1}", nn.Sequential(*blocks))
        self.cls_token = _embedding(1, dim) if config.class_token else None
        self.norm = nn.LayerNorm(dim, eps=config.norm_eps)
        self.head = classifier(dim, config.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Classify normalised images: [B, 3, H, W] -> logits [B, classes]."""
        last = self.maps(images, class_token=self.config.class_token)[-1]
        if not self.config.class_token:
            return self.head(self.norm(last).mean(dim=(1, 2)))
        return self.head(self.norm(last[:, :, :1]).reshape(-1, last.shape[3]))  # an index would become a Gather

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps of the stages that are handed on, [B, C, H, W] at strides 4 to 32, for a detector or segmenter.

        Source: detection/pvt.py, forward_features: the last stage has no class token there.
        """
        maps = handed_on(self.config.feature_stages, self.maps(images, class_token=False))
        return tuple(x.permute(0, 3, 1, 2) for x in maps)

    def maps(self, images: Tensor, *, class_token: bool) -> list[Tensor]:
        """Map of each stage, [B, H, W, C]; the last is [B, 1, 1 + H*W, C] with a class token."""
        x, maps = images, []
        for stage in range(self.stages):
            x = self.get_submodule(f"patch_embed{stage + 1}")(x)
            x = self._place(x, stage, class_token=class_token and self._has_token(stage))
            x = self.get_submodule(f"block{stage + 1}")(x)
            maps.append(x)
            x = x.permute(0, 3, 1, 2)
        return maps

    def _place(self, x: Tensor, stage: int, *, class_token: bool) -> Tensor:
        """Add the position embedding: [B, H, W, C] -> [B, H, W, C], or [B, 1, 1 + H*W, C] with a class token.

        The class token and its position are one row of the sum, so that no target has to repeat it for a batch.
        """
        table: Tensor = self.get_parameter(f"pos_embed{stage + 1}")  # [1, N, C]
        _, rows, cols, dim = x.shape
        if class_token:
            table = table + functional.pad(self.get_parameter("cls_token"), (0, 0, 0, rows * cols))  # [1, 1 + N, C]
            return functional.pad(x.reshape(-1, 1, rows * cols, dim), (0, 0, 1, 0)) + table.unsqueeze(1)
        if self._has_token(stage):
            table = table[:, 1:]
        return x + table.reshape(1, rows, cols, dim)

    def _has_token(self, stage: int) -> bool:
        return self.config.class_token and stage + 1 == self.stages


def _embedding(tokens: int, dim: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, tokens, dim), std=0.02))


def _block(config: PvtConfig, stage: int) -> nn.Module:
    dim, heads = config.embed_dims[stage], config.heads[stage]
    attention: nn.Module = ReducedAttention(dim, heads, config.reductions[stage], eps=config.reduced_eps)
    if stage in config.slide_stages:
        attention = SlideAttention(dim, heads, config.kernel_size)
    mlp = Mlp(dim, int(dim * config.mlp_ratios[stage]), activation=config.activation)
    return ReducedBlock(dim, attention, mlp, eps=config.norm_eps)


def is_pvt(state: State) -> bool:
    """Whether the keys are those of a PVT with any attention."""
    return "patch_embed1.proj.weight" in state and "pos_embed1" in state


def infer(
    state: State, *, heads: tuple[int, ...] | None = None, image_size: tuple[int, int] | None = None
) -> PvtConfig:
    """The configuration that the shapes of a PVT or Slide-PVT tell, for a square input unless one is said.

    Raises:
        ShapeError: the shapes fit no such model, or leave its heads or its input open.
    """
    dims = pyramid.dims(state)
    side = math.isqrt(state["pos_embed1"].shape[1])
    if image_size is None and side**2 != state["pos_embed1"].shape[1]:
        raise ShapeError(f"{state['pos_embed1'].shape[1]} positions in stage 1, which is no square")
    slide_stages, kernel_size = pyramid.slide_stages(state)
    return PvtConfig(
        embed_dims=dims,
        depths=pyramid.depths(state),
        heads=pyramid.heads(state, dims, heads),
        mlp_ratios=pyramid.ratios(state, dims),
        reductions=pyramid.reductions(state, PvtConfig.reductions),
        image_size=image_size or (side * PATCH, side * PATCH),
        num_classes=classes(state),
        slide_stages=slide_stages,
        kernel_size=kernel_size,
        class_token="cls_token" in state,
    )


def check_positions(state: State, image_size: tuple[int, int]) -> None:
    """Refuse an input whose maps have not as many places as there are position embeddings.

    Raises:
        ShapeError: a stage has more or fewer.
    """
    stages = len(pyramid.dims(state))
    for stage in range(stages):
        places = (image_size[0] // (PATCH << stage)) * (image_size[1] // (PATCH << stage))
        token = "cls_token" in state and stage + 1 == stages
        found = state[f"pos_embed{stage + 1}"].shape[1] - token
        if places != found:
            raise ShapeError(f"{found} positions in stage {stage + 1}, where that input has {places}")


def read_data(tree: Mapping[str, Any] | None, _config: Any) -> DataConfig:
    """PVT's preprocessing: short side to 256/224 of the input, bicubic, centre crop.

    Source: classification/datasets.py, build_transform.
    """
    return data_from_tree(tree, DataConfig())


def resize(config: PvtConfig, size: PvtConfig) -> PvtConfig:
    """Copy `config` with the widths, depths, heads, MLP ratios and reductions of `size`."""
    return replace(
        config,
        embed_dims=size.embed_dims,
        depths=size.depths,
        heads=size.heads,
        mlp_ratios=size.mlp_ratios,
        reductions=size.reductions,
    )


def adapt(state: State, trained: PvtConfig, wanted: PvtConfig) -> State:
    """Resize the position embeddings to the maps of `wanted`."""
    adapted = dict(state)
    for stage in range(len(trained.depths)):
        key, token = f"pos_embed{stage + 1}", trained.class_token and stage + 1 == len(trained.depths)
        old, new = trained.resolution(stage), wanted.resolution(stage)
        grid = resize_positions(adapted[key][:, token:], old, new)
        adapted[key] = torch.cat((adapted[key][:, :token], grid), dim=1)
    return adapted


def resize_positions(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Resize position embeddings from a map of size `old` to one of size `new`: [1, oh*ow, C] -> [1, nh*nw, C].

    Source: _get_pos_embed: bilinear, corners not aligned. Upstream leaves a table alone where the new map has as many
    tokens as the first stage's native one, which at input 448 breaks it in stage 2; here every stage is resized.
    """
    image = table.reshape(1, *old, -1).permute(0, 3, 1, 2)  # [1, C, H, W]
    image = functional.interpolate(image, size=new, mode="bilinear", align_corners=False)
    return image.flatten(2).transpose(1, 2)


def _size(*depths: int) -> PvtConfig:
    return PvtConfig((64, 128, 320, 512), depths, (1, 2, 5, 8))


VARIANTS = {
    "pvt_tiny": _size(2, 2, 2, 2),
    "pvt_small": _size(3, 4, 6, 3),
    "pvt_medium": _size(3, 4, 18, 3),
    "pvt_large": _size(3, 8, 27, 3),
}

SOURCE = "PVT (arXiv 2102.12122), table of ImageNet results; top-1 of whai362/PVT 57e2dfa, classification/README.md"
PUBLISHED = {
    "pvt_tiny": Published(13.2, 1.9, 75.1, SOURCE),
    "pvt_small": Published(24.5, 3.8, 79.8, SOURCE),
    "pvt_medium": Published(44.2, 6.7, 81.2, SOURCE),
    "pvt_large": Published(61.4, 9.8, 81.7, SOURCE),
}

IMAGE_VALUE = ModelValue(
    "image_size",
    IMAGE_SIZE,
    "the input that it was trained with, where that is no square; another input size is made of it afterwards",
    "a square of the position embeddings",
    needed=True,
    assumed=False,
    check=check_positions,
)

FAMILY = Family(
    name="pvt",
    variants=VARIANTS,
    matches=lambda state: is_pvt(state) and not slides(state),
    infer=infer,
    resize=resize,
    read_config=lambda tree: config_tree.read_config(tree, "pvt", PvtConfig),
    read_data=read_data,
    build=PyramidVisionTransformer,
    adapt=adapt,
    values=(pyramid.HEADS_VALUE, IMAGE_VALUE, ACTIVATION),
    published=PUBLISHED,
)
