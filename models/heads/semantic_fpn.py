"""Semantic FPN: every level of a feature pyramid convolved and enlarged to the finest one's size, summed, classified.

Source: Kirillov et al., Panoptic Feature Pyramid Networks, 2019, figure 3; open-mmlab/mmsegmentation 1.2.2,
models/decode_heads/fpn_head.py, FPNHead.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from slide_export.models.family import ShapeError, State
from slide_export.models.layers import Numbered

from .fpn import LATERAL, Fpn, FpnFields, infer_fpn
from .head import ConvModule, Head, Maps, groups_of, resized, size_of
from .segmenter import SEGMENTER_VALUES, SegmenterFields

DECODE = "decode_head"


@dataclass(frozen=True)
class SemanticFpnFields(SegmenterFields, FpnFields):
    """The head's part of a configuration.

    Attributes:
        head_channels: width of its convolutions.
    """

    head_channels: int = 128


class SemanticFpnHead(nn.Module):
    """Levels of the neck to logits at stride 4."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        width, self.align = config.head_channels, config.align_corners
        self.levels = 4 - config.neck_start
        self.scale_heads = Numbered(
            Enlarging(config.neck_channels, width, level, config.norm_groups, align_corners=self.align)
            for level in range(self.levels)
        )
        self.conv_seg = nn.Conv2d(width, config.num_classes, 1)

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        """Logits [B, K, H/4, W/4] of levels [B, C, h, w], fine to coarse."""
        total = self.scale_heads(levels[0], 0)
        for level in range(1, self.levels):
            x = self.scale_heads(levels[level], level)
            total = total + resized(x, size_of(total), align_corners=self.align)
        return self.conv_seg(total)


class Enlarging(nn.Module):
    """Convolutions of one level, each but for the finest level's with twofold enlarging behind it.

    Args:
        inputs: channels of the level.
        width: channels of the convolutions.
        level: how many times to enlarge.
        groups: see `ConvModule`.
        align_corners: of the enlarging.
    """

    def __init__(self, inputs: int, width: int, level: int, groups: int, *, align_corners: bool) -> None:
        super().__init__()
        self.count, self.level, self.align = max(1, level), level, align_corners
        for index in range(self.count):  # numbers of upstream's Sequential, in which each enlarging is one
            self.add_module(str(2 * index), ConvModule(width if index else inputs, width, 3, groups))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and enlarge: [B, inputs, h, w] -> [B, width, h * 2**level, w * 2**level]."""
        for index in range(self.count):
            x = self.get_submodule(str(2 * index))(x)
            if self.level:
                rows, cols = size_of(x)
                x = resized(x, (2 * rows, 2 * cols), align_corners=self.align)
        return x


def matches(names: Collection[str]) -> bool:
    """Whether names are those of a neck and this head."""
    return f"{DECODE}.scale_heads.0.0.conv.weight" in names and f"{LATERAL}.0.conv.weight" in names


def infer(state: State, widths: tuple[int, ...], *, norm_groups: int | None = None) -> dict[str, Any]:
    """The fields that the shapes tell.

    Raises:
        ShapeError: the shapes fit no such head.
    """
    neck = infer_fpn(state, widths)
    first = state[f"{DECODE}.scale_heads.0.0.conv.weight"]
    classes, width = state[f"{DECODE}.conv_seg.weight"].shape[:2]
    if neck["neck_extra"] or first.shape[0] != width:
        raise ShapeError(f"a head of {width} channels on levels beyond the last stage, which no Semantic FPN has")
    groups = groups_of(state, f"{DECODE}.", norm_groups)
    return {**neck, "head_channels": width, "num_classes": classes, "norm_groups": groups}


def build(config: Any, maps: Maps) -> dict[str, nn.Module]:
    """Neck and head."""
    return {"neck": Fpn(config, maps.widths), DECODE: SemanticFpnHead(config)}


def run(model: nn.Module, maps: tuple[Tensor, ...]) -> Tensor:
    """Logits [B, K, H/4, W/4] of the maps of every stage."""
    logits: Tensor = model.get_submodule(DECODE)(model.get_submodule("neck")(maps))
    return logits


SEMANTIC_FPN = Head(
    name="semantic_fpn",
    task="segment",
    fields=SemanticFpnFields,
    upstream="FPNHead",
    prefixes=("neck.", f"{DECODE}."),
    matches=matches,
    infer=infer,
    build=build,
    run=run,
    values=SEGMENTER_VALUES,
)
