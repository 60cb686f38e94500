"""DAT T, S, B and DAT++ T, S, B: four stages whose blocks take turns between local and deformable attention.

Letters tell the attention of each block: L windows, S shifted windows, N neighbourhoods, D deformable. In DAT++ a
convolution for positions stands before every attention and one is inside every MLP; DAT+ has neither. Two generations
of upstream's code compute deformable attention otherwise from the same names; see `deformable_attention`.
Source: LeapLabTHU/DAT 566a593 (DAT) and 32173fc (DAT++), models/dat.py, configs/ and data/build.py.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from .dat_blocks import DepthwiseMlp, LayerScale, LocalAttention, PerceptionUnit, TokenMlp
from .dat_config import FACTORS, PATCH, STRIDES, DatConfig
from .dat_format import infer, matches, read_config
from .data import DataConfig
from .data_tree import WHOLE_IMAGE, data_from_tree
from .deformable_attention import ChannelNorm, DeformableAttention
from .family import Family, Published, State
from .layers import Numbered
from .neighborhood_attention import NeighborhoodAttention
from .window_attention import resize_table

REBUILT = (".relative_position_index", ".attn_mask")  # buffers that follow from the configuration


class Dat(nn.Module):
    """Patch embedding, stages with strided convolutions between them, LayerNorm, mean, linear head."""

    def __init__(self, config: DatConfig) -> None:
        super().__init__()
        config.refuse_misfits()
        self.patch_proj = _patches(config)
        self.stages = Numbered(Stage(config, stage) for stage in range(len(config.dims)))
        kernel, padding = (3, 1) if config.conv_patches else (2, 0)
        self.down_projs = Numbered(
            ConvNorm((nn.Conv2d(dim, wider, kernel, stride=2, padding=padding, bias=False), ChannelNorm(wider)))
            for dim, wider in zip(config.dims, config.dims[1:], strict=False)
        )
        self.depth = len(config.dims)
        self.cls_norm = ChannelNorm(config.dims[-1])
        self.cls_head = nn.Linear(config.dims[-1], config.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits [B, classes] of normalised images [B, 3, H, W]; upstream gives points and references too."""
        return self.cls_head(self.cls_norm(self.maps(images)[-1]).mean(dim=(1, 2)))

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the map of each stage, [B, C, H, W] at strides 4, 8, 16, 32, for a detector's or segmenter's neck."""
        return tuple(x.permute(0, 3, 1, 2) for x in self.maps(images))

    def maps(self, images: Tensor) -> list[Tensor]:
        """Compute the map of each stage, [B, H, W, C]."""
        x, maps = self.patch_proj(images), []
        for stage in range(self.depth):
            if stage:
                x = self.down_projs(x.permute(0, 3, 1, 2), stage - 1)
            x = self.stages(x, stage)
            maps.append(x)
        return maps


class ConvNorm(Numbered):
    """A strided convolution, then a norm."""

    def forward(self, x: Tensor, *_indices: int) -> Tensor:
        """Compute [B, h, w, outputs] of x [B, C, H, W]."""
        conv, norm = self.children()
        return norm(conv(x).permute(0, 2, 3, 1))


class OverlappingPatches(Numbered):
    """DAT++'s patches: two strided 3x3 convolutions, each with a norm behind it, and a GELU between them."""

    def __init__(self, dim: int) -> None:
        first, second = (nn.Conv2d(i, o, 3, stride=2, padding=1) for i, o in ((3, dim // 2), (dim // 2, dim)))
        super().__init__((first, ChannelNorm(dim // 2), nn.GELU(), second, ChannelNorm(dim)))

    def forward(self, images: Tensor, *_indices: int) -> Tensor:
        """Make the map [B, ceil(H/4), ceil(W/4), C] of images [B, 3, H, W]."""
        first, first_norm, activation, second, second_norm = self.children()
        x = activation(first_norm(first(images).permute(0, 2, 3, 1)))
        return second_norm(second(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


def _patches(config: DatConfig) -> nn.Module:
    dim = config.dims[0]
    if config.conv_patches and config.plus_plus:
        return OverlappingPatches(dim)
    kernel, padding = (7, 3) if config.conv_patches else (PATCH, 0)
    return ConvNorm((nn.Conv2d(3, dim, kernel, stride=PATCH, padding=padding), ChannelNorm(dim)))


class Stage(nn.Module):
    """Pre-norm blocks at one resolution, each attention, then an MLP; upstream lists their parts kind by kind."""

    def __init__(self, config: DatConfig, stage: int) -> None:
        super().__init__()
        dim, depth = config.dims[stage], len(config.blocks[stage])
        self.depth = depth
        self.layer_norms = Numbered(ChannelNorm(dim) for _ in range(2 * depth))
        self.attns = Numbered(_attention(config, stage, letter) for letter in config.blocks[stage])
        self.mlps = Numbered(_mlp(config, stage) for _ in range(depth))
        if config.perception_units[stage]:
            self.local_perception_units = Numbered(PerceptionUnit(dim) for _ in range(depth))
        if config.layer_scales[stage]:
            self.layer_scales = Numbered(LayerScale(dim) for _ in range(2 * depth))
        self.has_units, self.has_scales = config.perception_units[stage], config.layer_scales[stage]

    def forward(self, x: Tensor) -> Tensor:
        """Compute [B, H, W, C] of x [B, H, W, C]."""
        for block in range(self.depth):
            if self.has_units:
                x = self.local_perception_units(x, block)
            x = x + self._scaled(self.attns(self.layer_norms(x, 2 * block), block), 2 * block)
            x = x + self._scaled(self.mlps(self.layer_norms(x, 2 * block + 1), block), 2 * block + 1)
        return x

    def _scaled(self, residual: Tensor, index: int) -> Tensor:
        return self.layer_scales(residual, index) if self.has_scales else residual


def _attention(config: DatConfig, stage: int, letter: str) -> nn.Module:
    dim, heads, resolution = config.dims[stage], config.heads[stage], config.resolution(stage)
    if letter == "D":
        return DeformableAttention(config.deformable(stage))
    if letter == "N":
        return NeighborhoodAttention(dim, heads, resolution, config.neighborhoods[stage])
    return LocalAttention(dim, heads, resolution, config.windows[stage], shifted=letter == "S")


def _mlp(config: DatConfig, stage: int) -> nn.Module:
    dim = config.dims[stage]
    if config.depthwise_mlps[stage]:
        return DepthwiseMlp(dim, dim * config.mlp_ratio, plus_plus=config.plus_plus)
    return TokenMlp(dim, dim * config.mlp_ratio)


def read_data(tree: Mapping[str, Any] | None, config: DatConfig) -> DataConfig:
    """Read the preprocessing: both sides to 256/224 of the input, bicubic, centre crop; DAT++ at 384 crops nothing.

    Source: data/build.py, build_transform; configs/dat_base_384.yaml of DAT++, `TEST.CROP False`. DAT++'s code is
    bicubic whatever `DATA.INTERPOLATION` says.
    """
    whole = config.plus_plus and min(config.image_size) >= WHOLE_IMAGE and "CROP" not in (tree or {}).get("TEST", {})
    data = data_from_tree(tree, DataConfig(keep_aspect=False, scale=1.0 if whole else DataConfig.scale))
    return replace(data, interpolation="bicubic") if config.plus_plus else data


def resize(config: DatConfig, size: DatConfig) -> DatConfig:
    """Make `config` with everything of `size` but its input, its windows and its classes."""
    return replace(
        size,
        windows=config.windows,
        bias_size=config.bias_size,
        image_size=config.image_size,
        num_classes=config.num_classes,
    )


def adapt(state: State, trained: DatConfig, wanted: DatConfig) -> State:
    """Make the state dict whose tables have the sizes of `wanted`, without the buffers that follow from it.

    Source: models/dat.py, DAT.load_pretrained: bicubic, ends not aligned.
    """
    adapted = {key: value for key, value in state.items() if not key.endswith(REBUILT)}
    for key, table in adapted.items():
        found = re.fullmatch(r"stages\.(\d+)\.attns\.\d+\.(relative_position_bias_table|rpe_table)", key)
        if found is None:
            continue
        stage = int(found[1])
        if found[2] == "rpe_table":
            sides = wanted.deformable(stage).biases
            if tuple(table.shape[1:]) != sides:
                image = functional.interpolate(table[None], size=sides, mode="bicubic", align_corners=False)
                adapted[key] = image[0]
        elif trained.windows[stage] != wanted.windows[stage]:
            old, new = ((config.windows[stage],) * 2 for config in (trained, wanted))
            adapted[key] = resize_table(table, old, new)
    return adapted


def _dat(width: int, depth: int, heads: int, groups: tuple[int, ...]) -> DatConfig:
    return DatConfig(
        dims=tuple(width << stage for stage in range(4)),
        blocks=("LS", "LS", "LD" * (depth // 2), "LD"),
        heads=tuple(heads << stage for stage in range(4)),
        plus_plus=False,
        groups=groups,
        strides=STRIDES[False],
        offset_factors=(FACTORS[False],) * 4,
    )


def _dat_plus_plus(width: int, heads: int, groups: tuple[int, ...]) -> DatConfig:
    return DatConfig(
        dims=tuple(width << stage for stage in range(4)),
        blocks=("ND", "ND" * 2, "ND" * 9, "DD"),
        heads=tuple(heads << stage for stage in range(4)),
        plus_plus=True,
        groups=groups,
        strides=STRIDES[True],
        offset_factors=(FACTORS[True],) * 4,
        depthwise_mlps=(True,) * 4,
        perception_units=(True,) * 4,
        conv_patches=True,
    )


_BASE, _PP_TINY, _PP_BASE = (
    _dat(128, 18, 4, (1, 1, 4, 8)),
    _dat_plus_plus(64, 2, (1, 2, 4, 8)),
    _dat_plus_plus(128, 4, (2, 4, 8, 16)),
)

VARIANTS: Mapping[str, DatConfig] = {
    "dat_tiny": _dat(96, 6, 3, (1, 1, 3, 6)),
    "dat_small": _dat(96, 18, 3, (1, 1, 3, 6)),
    "dat_base": _BASE,
    "dat_base_384": _BASE.at((384, 384)),
    "dat_pp_tiny": _PP_TINY,
    "dat_pp_small": _dat_plus_plus(96, 3, (1, 2, 3, 6)),
    "dat_pp_base": _PP_BASE,
    "dat_pp_base_384": _PP_BASE.at((384, 384)),
    "dat_p_tiny": replace(  # DAT+, configs/dat_p.yaml; upstream gives no figures
        _PP_TINY, depthwise_mlps=(False,) * 4, perception_units=(False,) * 4, conv_patches=False
    ),
}

PAPER = "DAT (arXiv 2201.00520), table of ImageNet results; top-1 of LeapLabTHU/DAT 566a593, README.md"
PAPER_PP = "DAT++ (arXiv 2309.01430), table of ImageNet results; top-1 of LeapLabTHU/DAT 32173fc, README.md"
PUBLISHED = {
    "dat_tiny": Published(29, 4.6, 82.0, PAPER),
    "dat_small": Published(50, 9.0, 83.7, PAPER),
    "dat_base": Published(88, 15.8, 84.0, PAPER),
    "dat_base_384": Published(88, 49.8, 84.8, PAPER),
    "dat_pp_tiny": Published(24, 4.3, 83.9, PAPER_PP),
    "dat_pp_small": Published(53, 9.4, 84.6, PAPER_PP),
    "dat_pp_base": Published(93, 16.6, 84.9, PAPER_PP),
    "dat_pp_base_384": Published(94, 49.7, 85.9, PAPER_PP),
}

FAMILY = Family(
    name="dat",
    variants=VARIANTS,
    matches=matches,
    infer=infer,
    resize=resize,
    read_config=read_config,
    read_data=read_data,
    build=Dat,
    adapt=adapt,
    assumed="no shape tells the strides of the points nor how far offsets reach: those of every published DAT (1, "
    "factor 2) and DAT++ (8, 4, 2, 1, factor -1); nor DAT++'s input: that of its position biases",
    optional=REBUILT,
    published=PUBLISHED,
)
