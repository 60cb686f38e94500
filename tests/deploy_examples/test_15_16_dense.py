"""The segmentation and the detection example: trained, exported, run; their own arithmetic against the library's."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from slide_export import api
from slide_export.checkpoint.load import load_checkpoint
from slide_export.tasks.answers.palette import palette
from slide_export.tasks.answers.suppress import detections
from tests.deploy_examples.conftest import program_at
from tests.models.dense_cases import VALUES, golden, write

EXAMPLES = Path(__file__).parents[2] / "deploy_examples"
SMALL = (64, 96)
LEAST_MIOU = 30.0
"""Points; one class for all pixels reaches 17, a fifth of its share of the pixels."""


def program(folder: str, name: str) -> ModuleType:
    return program_at(EXAMPLES / folder / f"{name}.py")


def test_a_training_file_tells_its_model(tmp_path: Path) -> None:
    train = program("15_segmentation", "train")
    train.save(train.train(1), tmp_path / "scenes.pth")
    model = load_checkpoint(tmp_path / "scenes.pth")
    assert model.family == train.FAMILY
    assert model.image_size == (train.SIDE, train.SIDE)
    assert model.labels == train.CLASSES
    assert model.config.heads == train.HEADS
    assert np.allclose(model.data.mean, np.array(train.MEAN) / 255)


def test_every_pixel_of_a_scene_has_a_class() -> None:
    train = program("15_segmentation", "train")
    seen, held = train.scenes(0, held_out=False)(), train.scenes(0, held_out=True)()
    for picture, labels in (seen, held):
        assert picture.shape == (train.SIDE, train.SIDE, 3)
        assert set(np.unique(labels)) <= set(range(len(train.CLASSES)))
        assert 0 < (labels > 0).mean() < 0.5


def test_colours_are_the_librarys() -> None:
    assert np.array_equal(program("15_segmentation", "segment").palette(256), palette(256))


def test_boxes_are_chosen_as_upstream_chooses_them() -> None:
    found = golden("swin_retinanet_mmdet")
    told = found.meta["head"]["bbox_head"]["test_cfg"]
    config: dict[str, Any] = {
        "score_threshold": told["score_thr"],
        "iou_threshold": told["nms"]["iou_threshold"],
        "candidates": told["nms_pre"],
        "detections": told["max_per_img"],
        "anchor_scales": [4] * 3,
        "anchor_ratios": [1] * 3,
        "anchor_strides": [8, 16, 32, 64, 128],
    }
    choose = program("16_detection", "detect").choose
    boxes, scores, classes = choose(found.outputs["scores"][0], found.outputs["boxes"][0], config, (160, 224))
    assert np.array_equal(classes, found.outputs["detections.labels"])
    assert np.abs(scores - found.outputs["detections.scores"]).max() <= 1e-6
    assert np.abs(boxes - found.outputs["detections.boxes"]).max() <= 1e-4
    assert len(detections(found.outputs["scores"][0], found.outputs["boxes"][0], most=7).scores) == 7


def run(folder: str, name: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLES / folder / f"{name}.py", *map(str, arguments)], capture_output=True, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_the_detector_proves_itself_and_answers(target: str, tmp_path: Path) -> None:
    checkpoint = write(golden("pvt_retinanet_fork"), tmp_path)
    asked = {"input_size": SMALL, "values": VALUES[checkpoint.stem], "image_count": 2}
    made = api.export(checkpoint, target, out=tmp_path, **asked)
    photo = next((Path(__file__).parents[2] / "calibration" / "photos").glob("*.jpg"))
    found = run("16_detection", "detect", made.path, tmp_path / "found", photo)
    assert found.returncode == 0, found.stderr
    assert "✓ proved equal" in found.stdout
    assert (tmp_path / "found" / f"{photo.stem}.png").is_file()


@pytest.mark.slow
def test_the_segmenter_is_trained_exported_measured_and_run(tmp_path: Path) -> None:
    trained = run("15_segmentation", "train", tmp_path, "--steps", 1500)
    assert trained.returncode == 0, trained.stderr
    options: dict[str, Any] = {
        "out": tmp_path,
        "output": "mask",
        "evaluation": tmp_path / "heldout",
        "images": tmp_path / "calibration" / "images",
    }
    for target, precision in (("onnx", "fp32"), ("openvino", "fp16"), ("onnx", "int8"), ("openvino", "int8")):
        made = api.export(tmp_path / "scenes.pth", target, precision=precision, **options)
        measured = made.manifest.accuracy.measured
        assert measured.pytorch >= LEAST_MIOU
        assert measured.pytorch - measured.artifact <= 1.0
        found = run("15_segmentation", "segment", made.path, tmp_path / "coloured", tmp_path / "heldout/images/00.png")
        assert found.returncode == 0, found.stderr
    assert json.loads((made.path / "manifest.json").read_text())["task"] == "segment"
