"""Choosing among a detector's boxes inside its graph: the best of each level, then the best of those that overlap.

Source: open-mmlab/mmdetection 3.3.0, models/dense_heads/base_dense_head.py, _predict_by_feat_single and
_bbox_post_process; mmcv 2.1.0, ops/nms.py, batched_nms.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

ROW = ("left", "top", "right", "bottom", "score", "class")
"""What stands in a row of the result."""


class Suppress(nn.Module):
    """Scores and boxes of all anchors to detections, as many rows for every picture.

    How many there are depends on the picture, and a batch has one shape: rows of zeros fill it up, so a row without a
    score is none. Classes stand on an axis of their own, so that boxes of two never meet and none has to be moved.

        Given    scores [B, N, K]; of each level the best pairs of an anchor and a class, P together
        Result   apart [B, K, P], each pair's score in the row of its class -> NonMaxSuppression -> the best D

    Args:
        config: of the whole model.
        counts: anchors of each level.
    """

    classes: Tensor

    def __init__(self, config: Any, counts: Sequence[int]) -> None:
        super().__init__()
        self.counts, self.candidates, self.most = tuple(counts), config.candidates, config.detections
        self.score_threshold, self.iou_threshold = config.score_threshold, config.iou_threshold
        self.register_buffer("classes", torch.arange(config.num_classes).reshape(1, -1, 1), persistent=False)

    def forward(self, scores: Tensor, boxes: Tensor) -> Tensor:
        """Detections [B, D, 6], best first, of scores [B, N, K] and boxes [B, N, 4]; see `ROW`."""
        levels = zip(scores.split(self.counts, dim=1), boxes.split(self.counts, dim=1), strict=True)
        found = [self._best(own, corners) for own, corners in levels]
        values, classes, corners = (torch.cat(column, dim=1) for column in zip(*found, strict=True))
        solid = (corners[..., 2:] > corners[..., :2]).all(dim=2)
        values = torch.where(solid, values, torch.zeros_like(values))  # [B, P]
        own_row = self.classes == classes[:, None, :]
        apart = torch.where(own_row, values[:, None, :], torch.zeros_like(values[:, None, :]))  # [B, K, P]
        kept = KeptScores.apply(corners, apart, self.most, self.iou_threshold, self.score_threshold).amax(dim=1)
        best, order = kept.topk(min(self.most, kept.shape[1]), dim=1)  # [B, D]
        rows = torch.cat(
            (taken(corners, order), best[..., None], classes.gather(1, order)[..., None].to(best.dtype)), dim=2
        )
        return torch.where(best[..., None] > 0, rows, torch.zeros_like(rows))

    def _best(self, scores: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores [B, p], classes [B, p] and boxes [B, p, 4] of a level's best pairs."""
        count, classes = scores.shape[1], scores.shape[2]
        values, pairs = scores.flatten(1).topk(min(self.candidates, count * classes), dim=1)
        anchors = torch.div(pairs, classes, rounding_mode="trunc")
        return values, pairs - anchors * classes, taken(boxes, anchors)


def taken(boxes: Tensor, places: Tensor) -> Tensor:
    """Boxes [B, p, 4] at places [B, p] of boxes [B, n, 4]."""
    return boxes.gather(1, places[..., None].expand(-1, -1, 4))


class KeptScores(torch.autograd.Function):
    """Scores of the boxes that NonMaxSuppression keeps, 0 of the others: an operator of its own in the graph."""

    @staticmethod
    def forward(_ctx: Any, boxes: Tensor, scores: Tensor, most: int, overlap: float, least: float) -> Tensor:
        """Keep the best: boxes [B, P, 4], scores [B, K, P] -> [B, K, P].

        Args:
            most: boxes kept of a class.
            overlap: of two boxes whose intersection over union is larger, the better one is kept.
            least: scores at or below it are not kept.
        """
        kept = torch.zeros_like(scores)
        for image, row in enumerate(scores):
            for number in (row > least).any(dim=1).nonzero().flatten().tolist():
                chosen = greedy(boxes[image], row[number], most, overlap, least)
                kept[image, number, chosen] = row[number, chosen]
        return kept

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, most: int, overlap: float, least: float) -> Any:
        """The operators: which are kept [n, 3] (picture, class, place), and their scores put back in their places."""

        def number(value: Any, kind: torch.dtype) -> Any:
            """A constant [1] of the graph."""
            return g.op("Constant", value_t=torch.tensor([value], dtype=kind))

        limits = (number(most, torch.int64), number(overlap, torch.float32), number(least, torch.float32))
        selected = g.op("NonMaxSuppression", boxes, scores, *limits)
        nothing = g.op("Mul", scores, number(0.0, torch.float32))
        kept = g.op("ScatterND", nothing, selected, g.op("GatherND", scores, selected))
        kept.setType(scores.type())
        return kept


def greedy(boxes: Tensor, scores: Tensor, most: int, overlap: float, least: float) -> Tensor:
    """Places of the boxes [P, 4] of one class that no better one overlaps by more, best first, at most `most`."""
    order = scores.argsort(descending=True, stable=True)
    order = order[scores[order] > least]
    chosen: list[Tensor] = []
    while len(order) and len(chosen) < most:
        best, order = order[0], order[1:]
        chosen.append(best)
        order = order[shares(boxes[best], boxes[order]) <= overlap]
    return torch.stack(chosen)


def shares(box: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of a box [4] with others [n, 4]."""
    inside = (torch.minimum(box[2:], others[:, 2:]) - torch.maximum(box[:2], others[:, :2])).clamp(min=0).prod(dim=1)
    areas = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(dim=1)
    return inside / (areas - inside)
