"""COCO's average precision of detections, on lists whose figure is known."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slide_export.core.errors import CalibrationError
from slide_export.tasks.answers.average_precision import AveragePrecision, levels_of, listing, within

pytest.importorskip("pycocotools")
CONFIG = SimpleNamespace(
    num_classes=2,
    score_threshold=0.05,
    iou_threshold=0.5,
    candidates=1000,
    detections=100,
    anchor_scales=(1.0,),
    anchor_ratios=(1.0,),
    anchor_strides=(8,),
)
SIDE = 32
BOXES = {1: (8.0, 8.0, 24.0, 24.0), 2: (0.0, 0.0, 16.0, 16.0)}  # category -> left, top, right, bottom


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    """Two pictures of twice the input's size, a box each."""
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 3}, {"id": 7}]}
    for number, (left, top, right, bottom) in BOXES.items():
        Image.new("RGB", (2 * SIDE, 2 * SIDE)).save(tmp_path / f"{number}.png")
        content["images"].append({"id": number, "file_name": f"{number}.png", "width": 2 * SIDE, "height": 2 * SIDE})
        box = [2 * left, 2 * top, 2 * (right - left), 2 * (bottom - top)]
        category = {1: 3, 2: 7}[number]
        content["annotations"].append({"id": number, "image_id": number, "category_id": category, "bbox": box})
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    return path


def outputs(number: int, shift: float = 0.0) -> dict[str, np.ndarray[Any, Any]]:
    """A map of 16 anchors of which one has the picture's box."""
    scores, boxes = np.zeros((1, 16, 2), np.float32), np.zeros((1, 16, 4), np.float32)
    scores[0, 5, number - 1], boxes[0, 5] = 0.9, np.array(BOXES[number]) + shift
    return {"scores": scores, "boxes": boxes}


def measured(path: Path, shift: float) -> AveragePrecision:
    tally = AveragePrecision(SimpleNamespace(placed=lambda _rows, _cols: (SIDE, SIDE)), CONFIG)  # type: ignore[arg-type]
    for file, truth in listing(path).items():
        tally.add(outputs(int(file.stem), shift), [np.zeros((1, SIDE, SIDE, 3), np.uint8)], [truth])
    return tally


def test_boxes_that_are_the_truths_reach_100(annotated: Path) -> None:
    assert measured(annotated, 0.0).value == pytest.approx(100.0)


def test_shifted_boxes_count_at_the_overlaps_that_they_reach(annotated: Path) -> None:
    """16x16 against itself moved by 2 pixels each way: 14*14 / (2*256 - 14*14) = 0.62, so 0.5, 0.55 and 0.6 of ten."""
    tally = measured(annotated, 2.0)
    assert tally.value == pytest.approx(30.0)
    assert tally.others["AP50"] == pytest.approx(100.0)


def test_nothing_detected_is_0(annotated: Path) -> None:
    assert measured(annotated, 1000.0).value == 0.0


def test_a_list_of_other_classes_is_refused(annotated: Path) -> None:
    content = json.loads(annotated.read_text())
    content["categories"].append({"id": 9})
    other = annotated.with_name("three.json")
    other.write_text(json.dumps(content))
    with pytest.raises(CalibrationError, match="expected 2 categories"):
        measured(other, 0.0)


def test_a_list_of_another_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text("{}")
    with pytest.raises(CalibrationError, match="expected a list of COCO's form"):
        listing(path)


def test_levels_are_those_of_a_published_neck() -> None:
    config = SimpleNamespace(anchor_scales=(4.0,) * 3, anchor_ratios=(1.0,) * 3, anchor_strides=(8, 16, 32, 64, 128))
    assert levels_of((160, 224), config) == (5040, 1260, 315, 108, 36)


def test_boxes_of_an_input_are_brought_to_the_part_that_the_picture_takes() -> None:
    # A picture of 100 rows and 200 columns takes 32 rows and 64 columns of an input of 64 x 64.
    boxes = within(
        np.array([[0.0, 0.0, 64.0, 32.0], [32.0, 16.0, 70.0, 60.0]]), (32, 64), {"width": 200, "height": 100}
    )
    assert boxes.tolist() == [[0, 0, 200, 100], [100, 50, 200, 100]]
