"""One image to scores and boxes of objects, before the best of those that overlap is chosen.

Choosing (NMS) needs a number of boxes that depends on the picture, which not every target can give: it stands outside,
in `suppress`, the same for an artifact and for the model that it was made from. Where the target has it and it is asked
for, `detections` stand beside scores and boxes, which are what the proof measures; a program that asks for `detections`
alone is given nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from slide_export.core.errors import RequestError, option
from slide_export.core.measure import Measure
from slide_export.core.proof import Rule, RuleParity
from slide_export.core.task import Task

from .answers.average_precision import AveragePrecision, levels_of, listing
from .answers.choice import BOX, CLASS, SCORE, Choice, faults, matched
from .answers.palette import framed, palette, palette_of
from .answers.suppress import Detections, detections

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from slide_export.core.artifact import ModelIO, Outputs

BOXES, RAW = "boxes", "raw"
DETECTIONS = "detections"  # what is chosen inside
LEVELS = range(3, 8)  # of a published neck: level n has one place for 2^n pixels
SHOWN = 5  # detections of an answer
MAX_DROP = 1.0  # points of average precision
LEAST = 0.3  # score from which an answer is shown


def outputs(io: ModelIO) -> tuple[str, ...]:
    """Scores and boxes of all anchors, and what is chosen of them; or logits and deltas, level by level."""
    if io.output != RAW:
        return ("scores", "boxes", DETECTIONS) if io.nms else ("scores", "boxes")
    return (*(f"logits{level}" for level in LEVELS), *(f"deltas{level}" for level in LEVELS))


def run(module: nn.Module, images: tuple[Tensor, ...], io: ModelIO) -> tuple[Tensor, ...]:
    """Scores [B, N, K] in 0..1 and boxes [B, N, 4] in pixels of the input; or [B, n, K] and [B, n, 4] of each level.

    Beside scores and boxes, where it is asked for, detections [B, D, 6]; see `models.heads.suppress`.
    """
    logits, deltas = module(*images)
    if io.output == RAW:
        return (*logits, *deltas)
    scores: Tensor = module.scores(logits)  # type: ignore[operator]  # methods
    boxes: Tensor = module.boxes(deltas)  # type: ignore[operator]
    return (scores, boxes, module.detections(scores, boxes)) if io.nms else (scores, boxes)  # type: ignore[operator]


def rule(io: ModelIO, config: Any, size: tuple[int, int]) -> Rule | None:
    """How detections are proved: as what follows from the artifact's own scores and boxes."""
    if not io.nms:
        return None
    choice = Choice(
        config.score_threshold, config.iou_threshold, levels_of(size, config), config.candidates, config.detections
    )

    def judge(found: Outputs, exact: Outputs) -> RuleParity:
        """Count detections of one image, what breaks the rule, and which the trained model has too."""
        rows = found[DETECTIONS][0]
        same, expected = matched(rows, exact[DETECTIONS][0])
        wrong = faults(rows, found["scores"][0], found["boxes"][0], choice)
        return RuleParity(DETECTIONS, int((rows[:, SCORE] > 0).sum()), wrong, expected, same)

    return Rule(DETECTIONS, judge)


def check(io: ModelIO, config: Any) -> None:
    """Refuse what no boxes can have.

    Raises:
        RequestError: softmax, labels that are not one a class, levels that raw outputs have no names for, or a choice
            among raw outputs.
    """
    if io.softmax:
        raise RequestError(f"expected a detector without {option('softmax')}: its scores are each for itself")
    if io.labels and len(io.labels) != config.num_classes:
        raise RequestError(f"expected {config.num_classes} labels, one a class of the head; found {len(io.labels)}")
    if io.nms and io.output == RAW:
        raise RequestError(f"expected {option('nms')} with boxes, found it with raw outputs, which are not decoded")
    strides = tuple(1 << level for level in LEVELS)
    if io.output == RAW and tuple(config.anchor_strides) != strides:
        raise RequestError(f"expected levels of strides {strides} for raw outputs, found {config.anchor_strides}")


def draw(found: Outputs, labels: Sequence[str]) -> tuple[str, ...]:
    """The surest detections: "person  92 %  at 12,40 to 88,200"; of raw outputs, how many numbers there are."""
    best = chosen(found)
    if best is None:
        return (f"{sum(value.size for value in found.values()):,} numbers of {len(found)} outputs, not decoded",)
    lines = []
    for score, label, box in list(zip(best.scores, best.labels, best.boxes, strict=True))[:SHOWN]:
        left, top, right, bottom = (f"{value:.0f}" for value in box)
        name = labels[label] if label < len(labels) else f"class {label}"
        lines.append(f"{name}  {score:.0%}  at {left},{top} to {right},{bottom}")
    return tuple(lines) or (f"nothing with a score of {LEAST:.0%}",)


def chosen(found: Outputs) -> Detections | None:
    """Detections of one image, those that are shown; None of raw outputs."""
    if DETECTIONS in found:
        rows = np.asarray(found[DETECTIONS][0])
        rows = rows[rows[:, SCORE] > LEAST]
        return Detections(rows[:, BOX], rows[:, SCORE], rows[:, CLASS].astype(np.intp))
    if "scores" not in found or found["scores"].ndim != len(("image", "anchor", "class")):
        return None
    return detections(np.asarray(found["scores"][0]), np.asarray(found["boxes"][0]), score_threshold=LEAST)


def picture(found: Outputs, pictures: Sequence[NDArray[np.uint8]], config: Any) -> NDArray[np.uint8]:
    """The picture with a frame around each detection, in the colour of its class, uint8 [H, W, 3]."""
    best = chosen(found)
    if best is None:
        return pictures[0]
    # Class 0 is an object's, and the default's colour 0 is black.
    colours = palette_of(config.palette) if config.palette else np.roll(palette(256), -1, axis=0)
    return framed(pictures[0], best.boxes, best.labels, colours)


MEASURE = Measure("AP", "points", MAX_DROP, ("images", "annotations"), AveragePrecision, listing)
DETECT = Task(
    "detect", outputs, run, draw, choices=(BOXES, RAW), rule=rule, check=check, measure=MEASURE, picture=picture
)
