"""From scores and boxes of all anchors to detections: the best of those that overlap, class by class.

Given:  scores [N, K] in 0..1 and boxes [N, 4], as an artifact gives them
Result: at most 100 boxes with a score and a class each, best first

Source: open-mmlab/mmdetection 3.3.0, models/dense_heads/base_dense_head.py, _predict_by_feat_single, and mmcv 2.1.0,
ops/nms.py, batched_nms; pytorch/vision, ops/boxes.py, nms: a box goes if it overlaps a better one by more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Detections:
    """Detections of one image, best first.

    Attributes:
        boxes: [n, 4], left, top, right, bottom.
        scores: [n].
        labels: [n], classes.
    """

    boxes: NDArray[np.floating]
    scores: NDArray[np.floating]
    labels: NDArray[np.intp]


def detections(
    scores: NDArray[np.floating],
    boxes: NDArray[np.floating],
    *,
    score_threshold: float = 0.05,
    iou_threshold: float = 0.5,
    levels: Sequence[int] = (),
    candidates: int = 1000,
    most: int = 100,
) -> Detections:
    """Choose among the boxes of one image.

    Args:
        scores: [N, K].
        boxes: [N, 4].
        score_threshold: scores at or below it are no detections.
        iou_threshold: of two boxes of a class that overlap by more, the better one is kept.
        levels: how many of the N belong to each level; together they are one without them.
        candidates: the best scores of a level that are taken further.
        most: detections.
    """
    anchors, classes = _candidates(scores, levels or (len(scores),), score_threshold, candidates)
    corners, values = boxes[anchors], scores[anchors, classes]
    solid = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    corners, values, classes = corners[solid], values[solid], classes[solid]
    apart = classes[:, None] * (corners.max(initial=0) + 1)  # classes never overlap
    kept = nms(corners + apart, values, iou_threshold)[:most]
    return Detections(corners[kept], values[kept], classes[kept])


def _candidates(
    scores: NDArray[np.floating], levels: Sequence[int], threshold: float, most: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Anchor and class of the best scores of each level."""
    found, start = [], 0
    for count in levels:
        anchors, classes = np.nonzero(scores[start : start + count] > threshold)
        order = np.argsort(-scores[start + anchors, classes], kind="stable")[:most]
        found.append((start + anchors[order], classes[order]))
        start += count
    anchors, classes = (np.concatenate(column) for column in zip(*found, strict=True))
    return anchors, classes


def nms(boxes: NDArray[np.floating], scores: NDArray[np.floating], threshold: float) -> NDArray[np.intp]:
    """Places of the boxes [n, 4] that no better one overlaps by more than the threshold, best first."""
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[overlap(boxes[best], boxes[order]) <= threshold]
    return np.array(kept, np.intp)


def overlap(box: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.floating]:
    """Intersection over union of a box [4] with others [n, 4]."""
    corner, opposite = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    inside = np.prod((opposite - corner).clip(min=0), axis=1)
    area = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1)
    shares: NDArray[np.floating] = inside / np.maximum(area - inside, np.finfo(inside.dtype).tiny)
    return shares
