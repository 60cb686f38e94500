"""How well a detector's boxes cover the truth's: COCO's average precision, by COCO's own program.

Source: Lin et al., Microsoft COCO, 2014; cocodataset/cocoapi, pycocotools/cocoeval.py, COCOeval: the mean over classes
and over overlaps of 0.5 to 0.95.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slide_export.core.errors import CalibrationError

from .suppress import Detections, detections

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slide_export.core.artifact import Outputs
    from slide_export.core.measure import Truths

FOLDERS = ("", "images")  # where pictures lie beside their list
AP, AP50 = 0, 1  # places in COCOeval.stats


def listing(path: Path) -> dict[Path, Path]:
    """Picture -> its truth, the list's own path with the picture's number behind it, of a list of COCO's form.

    Raises:
        CalibrationError: the list is of another form, a picture is absent, or pycocotools is not installed.
    """
    _coco(path)
    found = {}
    for image in _read(path)["images"]:
        places = [path.parent / folder / image["file_name"] for folder in FOLDERS]
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            raise CalibrationError(f"expected the pictures of {path} beside it or in images/, {places[0]} is absent")
        found[file] = path / str(image["id"])
    return found


@cache
def _read(path: Path) -> dict[str, Any]:
    """A list of pictures, categories and boxes.

    Raises:
        CalibrationError: it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kinds = {"images": ("id", "file_name", "width", "height"), "categories": ("id",)}
        kinds["annotations"] = ("id", "image_id", "category_id", "bbox")
        for name, fields in kinds.items():
            if not all(field in row for row in content[name] for field in fields):
                raise KeyError(name)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CalibrationError(
            f"expected a list of COCO's form (images, categories, annotations with boxes) in {path}, found another: "
            f"{type(error).__name__} {error}"
        ) from error
    return dict(content)


class AveragePrecision:
    """Detections of all pictures, in pixels of the pictures themselves.

    Args:
        pictures: tells what of the input a picture takes.
        config: of the model: its classes, and how its boxes are chosen.
    """

    def __init__(self, pictures: Truths, config: Any) -> None:
        self.pictures, self.config = pictures, config
        self.path: Path | None = None
        self.found: list[dict[str, Any]] = []
        self.seen: list[int] = []

    def add(self, found: Outputs, pictures: Sequence[NDArray[np.uint8]], truths: Sequence[Path]) -> None:
        """Count images [B, ...]; a truth is the list's path with the number of the picture behind it.

        Raises:
            CalibrationError: the outputs are not decoded, or the list has other classes than the model.
        """
        if "scores" not in found:
            raise CalibrationError("expected scores and boxes to measure, found raw outputs: export boxes")
        size = pictures[0].shape[1:3]
        for index, truth in enumerate(truths):
            self.path = truth.parent
            scores, boxes = (np.asarray(found[name][index], np.float32) for name in ("scores", "boxes"))
            self._keep(chosen(scores, boxes, size, self.config), int(truth.name))

    def _keep(self, chosen: Detections, number: int) -> None:
        content = _read(self.path)
        image = next(row for row in content["images"] if row["id"] == number)
        categories = sorted(row["id"] for row in content["categories"])
        if len(categories) != self.config.num_classes:
            raise CalibrationError(
                f"expected {self.config.num_classes} categories, one a class of the model, found {len(categories)} in "
                f"{self.path}"
            )
        boxes = within(chosen.boxes, self.pictures.placed(image["height"], image["width"]), image)
        self.seen.append(number)
        for box, score, label in zip(boxes, chosen.scores, chosen.labels, strict=True):
            left, top, right, bottom = map(float, box)
            self.found.append(
                {
                    "image_id": number,
                    "category_id": categories[label],
                    "bbox": [left, top, right - left, bottom - top],
                    "score": float(score),
                }
            )

    def plain(self) -> dict[str, Any]:
        """Pictures and detections; floats in hexadecimal, which is exact and knows infinity."""
        found = [
            {**one, "bbox": [value.hex() for value in one["bbox"]], "score": one["score"].hex()} for one in self.found
        ]
        return {"seen": self.seen, "found": found}

    def extend(self, plain: Any, truths: Sequence[Path]) -> None:
        """Take in the pictures that follow; the list's own path is that of this machine."""
        self.path = truths[0].parent if truths else self.path
        self.seen += plain["seen"]
        self.found += [
            {**one, "bbox": [*map(float.fromhex, one["bbox"])], "score": float.fromhex(one["score"])}
            for one in plain["found"]
        ]

    @property
    def value(self) -> float:
        """The mean, in points; 0 where nothing was detected."""
        return self._figures()[AP]

    @property
    def others(self) -> dict[str, float]:
        """The same at an overlap of 0.5."""
        return {"AP50": self._figures()[AP50]}

    def _figures(self) -> tuple[float, ...]:
        if not self.found or self.path is None:
            return (0.0, 0.0)
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):  # it prints tables
            truth = _coco(self.path)
            evaluated = COCOeval(truth, truth.loadRes(self.found), "bbox")
            evaluated.params.imgIds = self.seen
            evaluated.evaluate()
            evaluated.accumulate()
            evaluated.summarize()
        return tuple(100 * max(0.0, float(value)) for value in evaluated.stats[: AP50 + 1])  # -1: no truth


def _coco(path: Path) -> Any:
    """COCO's own reader of a list.

    Raises:
        CalibrationError: it is not installed.
    """
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise CalibrationError(
            "expected pycocotools, which measures average precision: pip install 'slide-export[coco]'"
        ) from error
    content = _read(path)
    with contextlib.redirect_stdout(io.StringIO()):
        read = COCO()
        whole = {"iscrowd": 0}
        read.dataset = {
            **content,
            "annotations": [
                {**whole, "area": row["bbox"][2] * row["bbox"][3], **row} for row in content["annotations"]
            ],
        }
        read.createIndex()
    return read


def within(boxes: NDArray[np.floating], placed: tuple[int, int], image: dict[str, Any]) -> NDArray[np.floating]:
    """Boxes [n, 4] of an input in pixels of the picture that takes these rows and columns of it, cut to that."""
    rows, cols = placed
    scale = np.array([image["width"] / cols, image["height"] / rows] * 2)
    limits = np.array([image["width"], image["height"]] * 2)
    cut: NDArray[np.floating] = (boxes * scale).clip(0, limits)
    return cut


def chosen(scores: NDArray[np.floating], boxes: NDArray[np.floating], size: Sequence[int], config: Any) -> Detections:
    """Detections of one image, chosen as its model's own program does: scores [N, K], boxes [N, 4]."""
    return detections(
        scores,
        boxes,
        score_threshold=config.score_threshold,
        iou_threshold=config.iou_threshold,
        levels=levels_of(size, config),
        candidates=config.candidates,
        most=config.detections,
    )


def levels_of(size: Sequence[int], config: Any) -> tuple[int, ...]:
    """Anchors of each level of an input: every stride halves the map again, rounded up."""
    anchors = len(config.anchor_scales) * len(config.anchor_ratios)
    rows, cols = (-(-side // config.anchor_strides[0]) for side in size)
    counts = []
    for _ in config.anchor_strides:
        counts.append(rows * cols * anchors)
        rows, cols = -(-rows // 2), -(-cols // 2)
    return tuple(counts)
