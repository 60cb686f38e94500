"""RetinaNet: a score of each class and a box for each of nine anchors at every place of five levels.

Source: Lin et al., Focal Loss for Dense Object Detection, 2017, figure 3; open-mmlab/mmdetection 3.3.0,
models/dense_heads/retina_head.py, RetinaHead; task_modules/prior_generators/anchor_generator.py, AnchorGenerator;
task_modules/coders/delta_xywh_bbox_coder.py, delta2bbox.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from slide_export.models.family import ShapeError, State
from slide_export.models.layers import Numbered
from slide_export.models.model_value import ModelValue, ValueKind, numbers

from .fpn import LATERAL, Fpn, FpnFields, infer_fpn
from .head import Head, Maps, Size, convolutions
from .suppress import Suppress

BBOX = "bbox_head"
LARGEST_RATIO = abs(math.log(16 / 1000))  # of a box's side over its anchor's, as a logarithm


@dataclass(frozen=True)
class RetinaNetFields(FpnFields):
    """The head's part of a configuration.

    Attributes:
        neck_start, neck_extra: see `FpnFields`.
        tower: convolutions in front of the scores, and in front of the boxes.
        head_channels: width of these.
        anchor_scales: sides of the square anchor over its level's stride.
        anchor_ratios: rows over columns of an anchor.
        anchor_strides: pixels from one place of a level to the next.
        score_threshold: scores at or below it are no detections.
        iou_threshold: of two boxes of a class that overlap by more, the better one is kept.
        candidates: the best scores of a level that are taken further.
        detections: an image at most.
        palette: red, green and blue of each class, one after the other; none where no file tells colours.
    """

    neck_start: int = 1
    neck_extra: int = 2
    tower: int = 4
    head_channels: int = 256
    anchor_scales: tuple[float, ...] = (4.0, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3))
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    anchor_strides: tuple[int, ...] = (8, 16, 32, 64, 128)
    score_threshold: float = 0.05
    iou_threshold: float = 0.5
    candidates: int = 1000
    detections: int = 100
    palette: tuple[int, ...] = ()


class Tower(nn.Module):
    """A convolution with a bias, then a ReLU, under the name `conv`."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and rectify: [B, inputs, h, w] -> [B, width, h, w]."""
        return functional.relu(self.conv(x))


class RetinaHead(nn.Module):
    """Levels of the neck to scores and boxes, the same convolutions on every level.

    Args:
        config: of the whole model.
        sizes: rows and columns of every level.
    """

    def __init__(self, config: Any, sizes: tuple[Size, ...]) -> None:
        super().__init__()
        self.depth, self.classes = config.tower, config.num_classes
        self.size = config.image_size
        self.anchors = len(config.anchor_scales) * len(config.anchor_ratios)
        widths = (config.neck_channels, *(config.head_channels for _ in range(config.tower)))
        self.cls_convs = Numbered(Tower(inputs, config.head_channels) for inputs in widths[:-1])
        self.reg_convs = Numbered(Tower(inputs, config.head_channels) for inputs in widths[:-1])
        self.retina_cls = nn.Conv2d(widths[-1], self.anchors * self.classes, 3, padding=1)
        self.retina_reg = nn.Conv2d(widths[-1], self.anchors * 4, 3, padding=1)
        for level, (size, stride) in enumerate(zip(sizes, config.anchor_strides, strict=True)):
            self.register_buffer(f"anchors{level}", anchors(config, size, stride), persistent=False)  # [N, 4]
        self.suppress = Suppress(config, [rows * cols * self.anchors for rows, cols in sizes])

    def forward(self, levels: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Logits [B, n, K] and deltas [B, n, 4] of every level [B, C, h, w], in the order row, column, anchor."""
        found = [self._level(x) for x in levels]
        return tuple(logits for logits, _ in found), tuple(deltas for _, deltas in found)

    def _level(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores, boxes = x, x
        for index in range(self.depth):
            scores, boxes = self.cls_convs(scores, index), self.reg_convs(boxes, index)
        return self._by_anchor(self.retina_cls(scores), self.classes), self._by_anchor(self.retina_reg(boxes), 4)

    def _by_anchor(self, x: Tensor, values: int) -> Tensor:
        """A row for each anchor: [B, A*values, h, w] -> [B, h*w*A, values]."""
        count = x.shape[2] * x.shape[3] * self.anchors
        return x.permute(0, 2, 3, 1).reshape(-1, count, values)

    def boxes(self, deltas: tuple[Tensor, ...]) -> Tensor:
        """Boxes [B, N, 4] (left, top, right, bottom, in pixels of the input) of every level's deltas [B, n, 4]."""
        all_anchors = torch.cat([self.get_buffer(f"anchors{level}") for level in range(len(deltas))])
        return decode(all_anchors, torch.cat(deltas, dim=1), self.size)


def anchors(config: Any, size: Size, stride: int) -> Tensor:
    """Anchors of a level, [h*w*A, 4]: centre column and row, width and height, in pixels.

    The anchors of a place, with the ratios outside and the scales inside, stand around its number times the stride:

        ratio .5, scales 4, 5.04, 6.35     ratio 1, scales ...     ratio 2, scales ...
    """
    scales, ratios = (torch.tensor(values) for values in (config.anchor_scales, config.anchor_ratios))
    root = ratios.sqrt()
    heights = (stride * root[:, None] * scales[None, :]).reshape(-1)
    widths = (stride * (1 / root)[:, None] * scales[None, :]).reshape(-1)
    rows, cols = (torch.arange(side, dtype=torch.float32) * stride for side in size)
    count = len(heights)
    grid = torch.stack((cols.repeat(size[0]), rows.repeat_interleave(size[1])), dim=1)  # [h*w, 2]
    sides = torch.stack((widths, heights), dim=1)  # [A, 2]
    places = grid[:, None, :].expand(-1, count, -1)
    return torch.cat((places, sides[None].expand(len(grid), -1, -1)), dim=2).reshape(-1, 4)


def decode(anchors: Tensor, deltas: Tensor, size: Size) -> Tensor:
    """Boxes of anchors that deltas move and stretch, cut to the input.

    Args:
        anchors: [N, 4], centre and sides.
        deltas: [B, N, 4], of the centre in sides of the anchor, of the sides as logarithms.
        size: rows and columns of the input.
    """
    centres, sides = anchors[None, :, :2], anchors[None, :, 2:]
    middle = centres + deltas[..., :2] * sides
    half = sides * deltas[..., 2:].clamp(-LARGEST_RATIO, LARGEST_RATIO).exp() / 2
    rows, cols = size
    corners = torch.cat((middle - half, middle + half), dim=-1).clamp(min=0)
    limits = torch.tensor([cols, rows, cols, rows], dtype=corners.dtype, device=corners.device)
    return torch.minimum(corners, limits)


def levels_of(config: Any, maps: Maps) -> tuple[Size, ...]:
    """Rows and columns of every level of the neck: those beyond the last stage are halves, rounded up."""
    sizes = list(maps.sizes[config.neck_start :])
    for _ in range(config.neck_extra):
        rows, cols = sizes[-1]
        sizes.append((-(-rows // 2), -(-cols // 2)))
    return tuple(sizes)


def matches(names: Collection[str]) -> bool:
    """Whether names are those of a neck and this head."""
    return f"{BBOX}.retina_cls.weight" in names and f"{LATERAL}.0.conv.weight" in names


def infer(
    state: State,
    widths: tuple[int, ...],
    *,
    anchor_scales: tuple[float, ...] | None = None,
    anchor_ratios: tuple[float, ...] | None = None,
) -> dict[str, Any]:
    """The fields that the shapes tell; nine anchors are the published ones.

    Raises:
        ShapeError: the shapes fit no such head.
    """
    neck = infer_fpn(state, widths)
    scales = anchor_scales or RetinaNetFields.anchor_scales
    ratios = anchor_ratios or RetinaNetFields.anchor_ratios
    count = state[f"{BBOX}.retina_reg.weight"].shape[0] // 4
    if count != len(scales) * len(ratios):
        raise ShapeError(f"{count} anchors a place, of which {len(scales)} scales in {len(ratios)} ratios are told")
    outputs, channels = state[f"{BBOX}.retina_cls.weight"].shape[:2]
    levels = len(widths) - int(neck["neck_start"]) + int(neck["neck_extra"])
    strides = tuple(4 << (int(neck["neck_start"]) + level) for level in range(levels))
    return {
        **neck,
        "tower": convolutions(state, f"{BBOX}.cls_convs"),
        "head_channels": channels,
        "anchor_scales": scales,
        "anchor_ratios": ratios,
        "anchor_strides": strides,
        "num_classes": outputs // count,
    }


def build(config: Any, maps: Maps) -> dict[str, nn.Module]:
    """Neck and head."""
    return {"neck": Fpn(config, maps.widths), BBOX: RetinaHead(config, levels_of(config, maps))}


def run(model: nn.Module, maps: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Logits and deltas of every level, of the maps of every stage."""
    found: tuple[tuple[Tensor, ...], tuple[Tensor, ...]] = model.get_submodule(BBOX)(model.get_submodule("neck")(maps))
    return found


def _reals(text: str) -> tuple[float, ...]:
    found = tuple(map(float, text.split(",")))
    if min(found) <= 0 or not all(map(math.isfinite, found)):
        raise ValueError(text)
    return found


REALS = ValueKind("positive numbers with commas, 0.5,1,2", _reals, lambda values: ",".join(f"{v:g}" for v in values))
THRESHOLD = ValueKind("a number between 0 and 1, 0.05", lambda text: _within(float(text)))
COUNT = ValueKind("a whole number, 100", lambda text: numbers("").read(text)[0])


def _within(value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(value)
    return value


VALUES = (
    ModelValue(
        "anchor_scales",
        REALS,
        "sides of the square anchor over its level's stride",
        "4 times 1, 2^(1/3) and 2^(2/3), as published, where there are nine anchors",
        needed=True,
    ),
    ModelValue(
        "anchor_ratios",
        REALS,
        "rows over columns of an anchor",
        "0.5,1,2, as published, where there are nine anchors",
        needed=True,
    ),
    ModelValue("score_threshold", THRESHOLD, "scores at or below it are no detections", "0.05", assumed=False),
    ModelValue("iou_threshold", THRESHOLD, "overlap from which the worse of two boxes goes", "0.5", assumed=False),
    ModelValue("candidates", COUNT, "best scores of a level that are taken further", "1000", assumed=False),
    ModelValue("detections", COUNT, "an image at most", "100", assumed=False),
)

RETINANET = Head(
    name="retinanet",
    task="detect",
    fields=RetinaNetFields,
    upstream="RetinaHead",
    prefixes=("neck.", f"{BBOX}."),
    matches=matches,
    infer=infer,
    build=build,
    run=run,
    values=VALUES,
    input_size=(800, 1344),
)
