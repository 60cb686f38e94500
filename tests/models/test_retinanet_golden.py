"""Small RetinaNets of upstream's, reproduced from their own files: scores, boxes, and what is chosen of them."""

from typing import Any

import numpy as np
import pytest
import torch

from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.model import Model
from slide_export.inference.fuse import fuse
from slide_export.tasks.answers.suppress import detections
from tests.models.dense_cases import VALUES, golden, size, write
from tests.models.golden_recipe import Case
from tests.models.test_dense_golden import error

EXACT = 2e-6
"""Largest error of a float64 run over the deviation: anchors and the stored values are float32."""
RESIZED = 2e-5
"""The same of PVT, whose position embeddings are resized once and kept in float32."""
SINGLE = 5e-5
"""The same of a float32 run: upstream's own is at 5e-6 of values up to 10 deviations."""
DETECTORS = {"swin_retinanet_mmdet": "swin_retinanet", "pvt_retinanet_fork": "pvt_retinanet"}


@pytest.fixture(scope="module", params=DETECTORS)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Model]:
    found = golden(request.param)
    path = write(found, tmp_path_factory.mktemp("dense"))
    return found, load_checkpoint(path, input_size=size(found), values=VALUES.get(found.name, {}))


def answers(module: Any, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode():
        logits, deltas = module(images)
        return module.scores(logits), module.boxes(deltas)


def within(boxes: torch.Tensor, found: Case) -> torch.Tensor:
    """Boxes cut to the picture, which zeros complete to the input."""
    rows, cols = found.meta["valid_shape"]
    return torch.minimum(boxes, torch.tensor([cols, rows, cols, rows], dtype=boxes.dtype))


def test_the_file_tells_the_model(loaded: tuple[Case, Model]) -> None:
    found, model = loaded
    assert (model.family, model.task) == (DETECTORS[found.name], "detect")
    told = found.meta["head"]["bbox_head"]
    assert model.config.num_classes == told["num_classes"]
    assert model.config.tower == told["stacked_convs"]
    assert list(model.config.anchor_strides) == told["anchor_generator"]["strides"]


def test_scores_and_boxes_are_upstreams_in_float64(loaded: tuple[Case, Model]) -> None:
    found, model = loaded
    scores, boxes = answers(model.module.double(), found.inputs["input"].double())
    model.module.float()
    limit = RESIZED if found.name.startswith("pvt") else EXACT
    assert error(scores, found.outputs["scores"]) <= limit
    assert error(within(boxes, found), found.outputs["boxes"]) <= limit


def test_anchors_are_upstreams_bit_for_bit(loaded: tuple[Case, Model]) -> None:
    found, model = loaded
    for level in (2, 3, 4):
        centre, side = model.module.get_submodule("bbox_head").get_buffer(f"anchors{level}").split(2, dim=1)
        corners = torch.cat((centre - side / 2, centre + side / 2), dim=1)
        assert np.abs(corners.numpy() - found.outputs[f"anchors.{level}"]).max() <= 1e-4  # a float32 of 500


def test_the_inference_form_is_upstreams_in_float32(loaded: tuple[Case, Model]) -> None:
    found, model = loaded
    scores, boxes = answers(fuse(model).module, found.inputs["input"])
    assert error(scores, found.outputs["scores"]) <= SINGLE
    assert error(within(boxes, found), found.outputs["boxes"]) <= SINGLE


def test_upstreams_detections_are_chosen(loaded: tuple[Case, Model]) -> None:
    found, model = loaded
    told = found.meta["head"]["bbox_head"]["test_cfg"]
    levels = [logits.shape[1] for logits in model.module(found.inputs["input"])[0]]
    chosen = detections(
        found.outputs["scores"][0],
        found.outputs["boxes"][0],
        levels=levels,
        candidates=told["nms_pre"],
        most=told["max_per_img"],
        score_threshold=told["score_thr"],
        iou_threshold=told["nms"]["iou_threshold"],
    )
    assert np.array_equal(chosen.labels, found.outputs["detections.labels"])
    assert np.abs(chosen.scores - found.outputs["detections.scores"]).max() <= 1e-6
    assert np.abs(chosen.boxes - found.outputs["detections.boxes"]).max() <= 1e-4  # of 224 pixels, in float32
