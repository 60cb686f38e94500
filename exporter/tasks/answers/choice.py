"""Are an artifact's detections those that follow from its own scores and boxes? Asked of the rule, not of a copy of it.

Which of two boxes is kept hangs on a last digit where their scores are equal or their overlap is the threshold, and the
choice among all others hangs on that one. So detections are not compared with another program's: they have to meet what
defines them, which holds for exactly one choice but for such ties.

1. Each detection is a pair of an anchor and a class: the artifact's own score and box, among the best of its level.
2. No two detections of a class overlap by more than the threshold.
3. Each candidate that is no detection is overlapped by more than that by a better detection of its class, or as many
   detections as there may be are better.
4. The best stands first; what follows the last is zeros.

Source: see `models.heads.suppress`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .suppress import overlap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Places = NDArray[np.intp]

TIE = 1e-5
"""Of an overlap: what float32 leaves of a quotient of areas, whose corners are exact on both sides."""
BOX, SCORE, CLASS = slice(4), 4, 5  # of a row


@dataclass(frozen=True)
class Choice:
    """How detections are chosen.

    Attributes:
        score_threshold: scores at or below it are none.
        iou_threshold: of two boxes of a class that overlap by more, the better one is kept.
        levels: how many anchors belong to each level.
        candidates: the best pairs of a level that are taken further.
        most: detections of a picture.
    """

    score_threshold: float
    iou_threshold: float
    levels: Sequence[int]
    candidates: int
    most: int


def faults(rows: Floats, scores: Floats, boxes: Floats, choice: Choice) -> int:
    """Count what breaks the rule in the detections of one picture.

    Args:
        rows: [D, 6], boxes, score and class.
        scores: [N, K] that they were chosen by.
        boxes: [N, 4].
    """
    kept = rows[rows[:, SCORE] > 0]
    wrong = int((rows[1:, SCORE] > rows[:-1, SCORE]).sum()) + int((rows[len(kept) :] != 0).any(axis=1).sum())
    sure, possible = _candidates(scores, boxes, choice)
    places = [_place(row, possible, scores, boxes) for row in kept]
    taken = {place for place in places if place is not None}
    wrong += len(kept) - len(taken)
    wrong += _overlapping(kept, choice.iou_threshold)
    left = [(int(anchor), int(number)) for anchor, number in zip(*sure, strict=True)]
    full = len(kept) >= choice.most
    for anchor, number in left:
        if (anchor, number) in taken or (full and scores[anchor, number] <= kept[-1, SCORE]):
            continue
        better = kept[(kept[:, CLASS] == number) & (kept[:, SCORE] >= scores[anchor, number])]
        wrong += not (overlap(boxes[anchor], better[:, BOX]) > choice.iou_threshold - TIE).any()
    return wrong


def _candidates(scores: Floats, boxes: Floats, choice: Choice) -> tuple[tuple[Places, Places], set[tuple[int, int]]]:
    """Anchors and classes of the pairs that are certainly taken further, and all that may be, where some are equal."""
    sure: list[tuple[Places, Places]] = []
    possible: list[tuple[Places, Places]] = []
    start = 0
    for count in choice.levels:
        level = scores[start : start + count]
        anchors, classes = np.nonzero(level > choice.score_threshold)
        values = level[anchors, classes]
        last = np.sort(values)[-choice.candidates] if len(values) > choice.candidates else -np.inf
        corners = boxes[start + anchors]
        solid = (corners[:, 2:] > corners[:, :2]).all(axis=1)
        for found, taken in ((sure, values > last), (possible, values >= last)):
            found.append((start + anchors[solid & taken], classes[solid & taken]))
        start += count
    whole, either = (tuple(np.concatenate(column) for column in zip(*found, strict=True)) for found in (sure, possible))
    return (whole[0], whole[1]), set(zip(either[0].tolist(), either[1].tolist(), strict=True))


def _place(row: Floats, possible: set[tuple[int, int]], scores: Floats, boxes: Floats) -> tuple[int, int] | None:
    """The pair of an anchor and a class that a detection is, None where there is none with its score and box."""
    number = int(row[CLASS])
    if not 0 <= number < scores.shape[1]:
        return None
    equal = np.flatnonzero((scores[:, number] == row[SCORE]) & (boxes == row[BOX]).all(axis=1))
    return next(((int(anchor), number) for anchor in equal if (int(anchor), number) in possible), None)


def _overlapping(kept: Floats, threshold: float) -> int:
    """How many detections overlap a better one of their class by more than the threshold."""
    found = 0
    for at, row in enumerate(kept):
        better = kept[:at][kept[:at, CLASS] == row[CLASS]]
        found += bool((overlap(row[BOX], better[:, BOX]) > threshold + TIE).any())
    return found


def matched(rows: Floats, others: Floats, least: float = 0.9) -> tuple[int, int]:
    """How many detections of `others` have one of their class in `rows` that overlaps by `least`; and how many are."""
    kept, expected = rows[rows[:, SCORE] > 0], others[others[:, SCORE] > 0]
    found = 0
    for row in expected:
        same = kept[kept[:, CLASS] == row[CLASS]]
        found += bool((overlap(row[BOX], same[:, BOX]) >= least).any())
    return found, len(expected)
