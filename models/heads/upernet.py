"""UPerNet: the last map pooled at several scales, then a feature pyramid whose levels are joined and classified.

Source: Xiao et al., Unified Perceptual Parsing for Scene Understanding, 2018, figure 4; open-mmlab/mmsegmentation
1.2.2, models/decode_heads/uper_head.py, UPerHead, and psp_head.py, PPM.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from slide_export.models.family import ShapeError, State
from slide_export.models.layers import Numbered
from slide_export.models.model_value import ModelValue, numbers
from slide_export.models.spatial_reduction import averages

from .head import ConvModule, Head, Maps, Size, convolutions, groups_of, resized, size_of
from .segmenter import SEGMENTER_VALUES, SegmenterFields

DECODE = "decode_head"


@dataclass(frozen=True)
class UperNetFields(SegmenterFields):
    """The head's part of a configuration.

    Attributes:
        head_channels: width of its convolutions.
        pool_scales: rows and columns that the last map is pooled to, one after the other.
    """

    head_channels: int = 512
    pool_scales: tuple[int, ...] = (1, 2, 3, 6)


class AdaptivePool(nn.Module):
    """Average pooling to a square of bins, whatever the map's size; neighbouring bins overlap where it needs that.

    Args:
        bins: rows and columns of the result.
        size: rows and columns of the map.
    """

    def __init__(self, bins: int, size: Size) -> None:
        super().__init__()
        self.bins, self.size = bins, size

    def forward(self, x: Tensor) -> Tensor:
        """Pool: [B, C, H, W] -> [B, C, bins, bins]."""
        return functional.adaptive_avg_pool2d(x, self.bins)

    def fuse(self) -> "PoolByProducts":
        """Inference form."""
        return PoolByProducts(self.bins, self.size)

    reparameterize = fuse


class PoolByProducts(nn.Module):
    """The same as two products with constant matrices, which every target has at every map size."""

    rows: Tensor
    cols: Tensor

    def __init__(self, bins: int, size: Size) -> None:
        super().__init__()
        # Buffers: an exporter loses what is written into a matrix while it traces.
        self.register_buffer("rows", averages(size[0], bins), persistent=False)  # [bins, H]
        self.register_buffer("cols", averages(size[1], bins).T.contiguous(), persistent=False)  # [W, bins]

    def forward(self, x: Tensor) -> Tensor:
        """Pool: [B, C, H, W] -> [B, C, bins, bins]."""
        return self.rows @ (x @ self.cols)


class Pooled(nn.Module):
    """One scale: pooling and a 1x1 convolution, under the numbers that upstream's Sequential has for them."""

    def __init__(self, bins: int, size: Size, module: ConvModule) -> None:
        super().__init__()
        self.add_module("0", AdaptivePool(bins, size))
        self.add_module("1", module)

    def forward(self, x: Tensor) -> Tensor:
        """Pool and convolve: [B, W, H, W] -> [B, C, bins, bins]."""
        return self.get_submodule("1")(self.get_submodule("0")(x))


class UperNetHead(nn.Module):
    """Maps of four stages to logits at stride 4."""

    def __init__(self, config: Any, maps: Maps) -> None:
        super().__init__()
        width, groups, self.align = config.head_channels, config.norm_groups, config.align_corners
        self.scales, last = len(config.pool_scales), maps.widths[-1]
        self.finer = len(maps.widths) - 1
        self.psp_modules = Numbered(
            Pooled(bins, maps.sizes[-1], ConvModule(last, width, 1, groups)) for bins in config.pool_scales
        )
        self.bottleneck = ConvModule(last + self.scales * width, width, 3, groups)
        self.lateral_convs = Numbered(ConvModule(inputs, width, 1, groups) for inputs in maps.widths[:-1])
        self.fpn_convs = Numbered(ConvModule(width, width, 3, groups) for _ in maps.widths[:-1])
        self.fpn_bottleneck = ConvModule(len(maps.widths) * width, width, 3, groups)
        self.conv_seg = nn.Conv2d(width, config.num_classes, 1)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Logits [B, K, H/4, W/4] of the maps [B, W, h, w] of every stage."""
        lateral = [self.lateral_convs(x, level) for level, x in enumerate(maps[:-1])]
        lateral.append(self._pyramid_pooling(maps[-1]))
        for level in range(self.finer, 0, -1):
            finer = lateral[level - 1]
            lateral[level - 1] = finer + self._like(lateral[level], finer)
        levels = [self.fpn_convs(x, level) for level, x in enumerate(lateral[:-1])]
        levels.append(lateral[-1])
        joined = torch.cat([self._like(x, levels[0]) for x in levels], dim=1)
        return self.conv_seg(self.fpn_bottleneck(joined))

    def _pyramid_pooling(self, x: Tensor) -> Tensor:
        pooled = (self._like(self.psp_modules(x, scale), x) for scale in range(self.scales))
        return self.bottleneck(torch.cat((x, *pooled), dim=1))

    def _like(self, x: Tensor, other: Tensor) -> Tensor:
        return resized(x, size_of(other), align_corners=self.align)


POOL_SCALES = ModelValue(
    "pool_scales",
    numbers("1,2,3,6"),
    "rows and columns that the last map is pooled to, one after the other",
    "1,2,3,6, as published, where there are four",
    needed=True,
)


def matches(names: Collection[str]) -> bool:
    """Whether names are those of this head, without a neck."""
    return f"{DECODE}.psp_modules.0.1.conv.weight" in names and f"{DECODE}.fpn_bottleneck.conv.weight" in names


def infer(
    state: State,
    widths: tuple[int, ...],
    *,
    norm_groups: int | None = None,
    pool_scales: tuple[int, ...] | None = None,
) -> dict[str, Any]:
    """The fields that the shapes tell; the scales are the published four, where there are four and nobody tells others.

    Raises:
        ShapeError: the shapes fit no such head.
    """
    taken = tuple(
        state[f"{DECODE}.lateral_convs.{level}.conv.weight"].shape[1]
        for level in range(convolutions(state, f"{DECODE}.lateral_convs"))
    )
    last = state[f"{DECODE}.psp_modules.0.1.conv.weight"].shape[1]
    if (*taken, last) != widths:
        raise ShapeError(f"a head of maps {(*taken, last)} wide, where those of the backbone are {widths}")
    count = sum(key.startswith(f"{DECODE}.psp_modules.") and key.endswith(".conv.weight") for key in state)
    scales = pool_scales or UperNetFields.pool_scales
    if len(scales) != count or min(scales) < 1:
        raise ShapeError(f"{count} pooled maps, of whose sizes (pool_scales) {scales} are told")
    classes, width = state[f"{DECODE}.conv_seg.weight"].shape[:2]
    return {
        "head_channels": width,
        "pool_scales": scales,
        "num_classes": classes,
        "norm_groups": groups_of(state, f"{DECODE}.", norm_groups),
    }


def build(config: Any, maps: Maps) -> dict[str, nn.Module]:
    """The head."""
    return {DECODE: UperNetHead(config, maps)}


def run(model: nn.Module, maps: tuple[Tensor, ...]) -> Tensor:
    """Logits [B, K, H/4, W/4] of the maps of every stage."""
    logits: Tensor = model.get_submodule(DECODE)(maps)
    return logits


UPERNET = Head(
    name="upernet",
    task="segment",
    fields=UperNetFields,
    upstream="UPerHead",
    prefixes=(f"{DECODE}.",),
    matches=matches,
    infer=infer,
    build=build,
    run=run,
    values=(*SEGMENTER_VALUES, POOL_SCALES),
)
