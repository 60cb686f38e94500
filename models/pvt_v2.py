"""PVTv2 B0 to B5 and B2-Li: PVT with overlapping patches and a convolution in each MLP, without position embeddings.

Source: whai362/PVT 57e2dfa, classification/pvt_v2.py. No shape tells the input size, and any will do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from . import config_tree, pyramid
from .conv_mlp import ConvMlp
from .family import Family, Published, ShapeError, State, classes, classifier, handed_on, slides
from .layers import NORM_EPS, ConvEmbed
from .model_value import YES_OR_NO, ModelValue, trained_size
from .pvt import read_data
from .slide_attention import SlideAttention
from .spatial_reduction import EPS, PooledAttention, ReducedAttention, ReducedBlock


@dataclass(frozen=True)
class PvtV2Config:
    """The numbers of one PVTv2 or Slide-PVTv2.

    Attributes:
        mlp_ratios: hidden width of each stage's MLPs over its width.
        reductions: side of the square of tokens that becomes one key, in each stage; unused in the linear form.
        linear: whether every stage looks at its map pooled to 7x7.
        image_size: rows and columns of the input.
        slide_stages: the stages (0-based) with slide attention in the place of attention to a reduced map.
        kernel_size: side k of the slide neighbourhood.
        norm_eps: epsilon of the blocks' and the last LayerNorm.
        embed_eps: epsilon of the patch embeddings' LayerNorm.
        reduced_eps: epsilon of the reduced map's LayerNorm.
        feature_stages: the stages (0-based) whose maps `features` hands on; empty of all.
    """

    embed_dims: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    mlp_ratios: tuple[float, ...] = (8.0, 8.0, 4.0, 4.0)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    linear: bool = False
    image_size: tuple[int, int] = (224, 224)
    num_classes: int = 1000
    slide_stages: tuple[int, ...] = ()
    kernel_size: int = 3
    norm_eps: float = EPS
    embed_eps: float = NORM_EPS
    reduced_eps: float = NORM_EPS
    feature_stages: tuple[int, ...] = ()

    def resolution(self, stage: int) -> tuple[int, int]:
        """Rows and columns of a stage's map (0-based stage): overlapping patches round up."""
        stride = 4 << stage
        return -(-self.image_size[0] // stride), -(-self.image_size[1] // stride)

    def at(self, image_size: tuple[int, int]) -> "PvtV2Config":
        """Same model at another input size.

        Raises:
            ShapeError: a stage would have nothing to look at.
        """
        config = replace(self, image_size=image_size)
        if not self.linear:
            pyramid.refuse_empty(config)
        return config


class PyramidVisionTransformerV2(nn.Module):
    """Four times overlapping patch embedding, blocks and LayerNorm; mean and linear head."""

    def __init__(self, config: PvtV2Config) -> None:
        super().__init__()
        self.stages, self.feature_stages = len(config.depths), config.feature_stages
        inputs = (3, *config.embed_dims)
        for stage, dim in enumerate(config.embed_dims):
            kernel, stride = (3, 2) if stage else (7, 4)
            blocks = (_block(config, stage) for _ in range(config.depths[stage]))
            embed = ConvEmbed(inputs[stage], dim, kernel, stride, padding=kernel // 2, eps=config.embed_eps)
            self.add_module(f"patch_embed{stage + 1}", embed)
            self.add_module(f"block{stage + 1}", nn.Sequential(*blocks))
            self.add_module(f"norm{stage + 1}", nn.LayerNorm(dim, eps=config.norm_eps))
        self.head = classifier(dim, config.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Classify normalised images: [B, 3, H, W] -> logits [B, classes]."""
        return self.head(self.maps(images)[-1].mean(dim=(1, 2)))

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps of the stages that are handed on, [B, C, H, W] at strides 4 to 32, for a detector or segmenter.

        Source: detection/pvt_v2.py, forward_features: after the stage's norm.
        """
        return tuple(x.permute(0, 3, 1, 2) for x in handed_on(self.feature_stages, self.maps(images)))

    def maps(self, images: Tensor) -> list[Tensor]:
        """Normed map of each stage, [B, H, W, C]."""
        x, maps = images, []
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"patch_embed{stage}")(x)
            x = self.get_submodule(f"block{stage}")(x)
            maps.append(self.get_submodule(f"norm{stage}")(x))
            x = maps[-1].permute(0, 3, 1, 2)
        return maps


def _block(config: PvtV2Config, stage: int) -> nn.Module:
    dim = config.embed_dims[stage]
    mlp = ConvMlp(dim, int(dim * config.mlp_ratios[stage]), relu=config.linear)
    return ReducedBlock(dim, _attention(config, stage), mlp, eps=config.norm_eps)


def _attention(config: PvtV2Config, stage: int) -> nn.Module:
    dim, heads = config.embed_dims[stage], config.heads[stage]
    if stage in config.slide_stages:
        return SlideAttention(dim, heads, config.kernel_size)
    if config.linear:
        return PooledAttention(dim, heads, config.resolution(stage), eps=config.reduced_eps)
    return ReducedAttention(dim, heads, config.reductions[stage], eps=config.reduced_eps)


def is_pvt_v2(state: State) -> bool:
    """Whether the keys are those of a PVTv2 with any attention."""
    return "patch_embed1.proj.weight" in state and "block1.0.mlp.dwconv.dwconv.weight" in state


def infer(state: State, *, heads: tuple[int, ...] | None = None, linear: bool | None = None) -> PvtV2Config:
    """The configuration that the shapes of a PVTv2 or Slide-PVTv2 state dict tell, for input 224.

    Raises:
        ShapeError: the shapes fit no such model, or leave its heads open.
    """
    dims = pyramid.dims(state)
    slide_stages, kernel_size = pyramid.slide_stages(state)
    linear = linear if (told := told_linear(state)) is None else told
    if linear is None:
        raise ShapeError("slide attention in every stage, where no shape tells whether the MLPs have a ReLU")
    return PvtV2Config(
        embed_dims=dims,
        depths=pyramid.depths(state),
        heads=pyramid.heads(state, dims, heads),
        mlp_ratios=pyramid.ratios(state, dims),
        reductions=PvtV2Config.reductions if linear else pyramid.reductions(state, PvtV2Config.reductions),
        linear=linear,
        num_classes=classes(state),
        slide_stages=slide_stages,
        kernel_size=kernel_size,
    )


def told_linear(state: State) -> bool | None:
    """Whether the shapes are those of the linear form; None where every stage slides."""
    if len(pyramid.slide_stages(state)[0]) == len(pyramid.dims(state)):
        return None
    return any(key.endswith(".attn.sr.weight") and value.shape[2] == 1 for key, value in state.items())


def resize(config: PvtV2Config, size: PvtV2Config) -> PvtV2Config:
    """Copy `config` with the widths, depths, heads, MLP ratios, reductions and attention of `size`."""
    return replace(
        config,
        embed_dims=size.embed_dims,
        depths=size.depths,
        heads=size.heads,
        mlp_ratios=size.mlp_ratios,
        reductions=size.reductions,
        linear=size.linear,
    )


def _size(*depths: int) -> PvtV2Config:
    return PvtV2Config((64, 128, 320, 512), depths, (1, 2, 5, 8))


VARIANTS: Mapping[str, PvtV2Config] = {
    "pvt_v2_b0": PvtV2Config((32, 64, 160, 256), (2, 2, 2, 2), (1, 2, 5, 8)),
    "pvt_v2_b1": _size(2, 2, 2, 2),
    "pvt_v2_b2": _size(3, 4, 6, 3),
    "pvt_v2_b2_li": replace(_size(3, 4, 6, 3), linear=True),
    "pvt_v2_b3": _size(3, 4, 18, 3),
    "pvt_v2_b4": _size(3, 8, 27, 3),
    "pvt_v2_b5": replace(_size(3, 6, 40, 3), mlp_ratios=(4.0, 4.0, 4.0, 4.0)),
}

SOURCE = "PVTv2 (arXiv 2106.13797), table 2; top-1 of whai362/PVT 57e2dfa, classification/README.md"
PUBLISHED = {
    "pvt_v2_b0": Published(3.4, 0.6, 70.5, SOURCE),
    "pvt_v2_b1": Published(13.1, 2.1, 78.7, SOURCE),
    "pvt_v2_b2": Published(25.4, 4.0, 82.0, SOURCE),
    "pvt_v2_b2_li": Published(22.6, 3.9, 82.1, SOURCE),
    "pvt_v2_b3": Published(45.2, 6.9, 83.1, SOURCE),
    "pvt_v2_b4": Published(62.6, 10.1, 83.6, SOURCE),
    "pvt_v2_b5": Published(82.0, 11.8, 83.8, SOURCE),
}

FAMILY = Family(
    name="pvt_v2",
    variants=VARIANTS,
    matches=lambda state: is_pvt_v2(state) and not slides(state),
    infer=infer,
    resize=resize,
    read_config=lambda tree: config_tree.read_config(tree, "pvt_v2", PvtV2Config),
    read_data=read_data,
    build=PyramidVisionTransformerV2,
    values=(
        pyramid.HEADS_VALUE,
        ModelValue(
            "linear",
            YES_OR_NO,
            "whether it is the linear form, whose MLPs have a ReLU",
            "told unless every stage slides",
            needed=True,
            told=told_linear,
        ),
        trained_size("224x224, as published"),
    ),
    published=PUBLISHED,
)
