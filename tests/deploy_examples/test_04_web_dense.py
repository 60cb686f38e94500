"""Masks and boxes of the page of 04_web: its own modules in node, beside the library's arithmetic."""

import json
import subprocess
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from slide_export.tasks.answers.average_precision import chosen
from slide_export.tasks.answers.palette import coloured, framed, overlaid, palette_of
from tests.deploy_examples.conftest import EXAMPLES, require

BUNDLE = EXAMPLES / "04_web" / "src" / "bundle"
SIZE = (32, 48)
CONFIG = {
    "num_classes": 3,
    "score_threshold": 0.05,
    "iou_threshold": 0.5,
    "candidates": 40,
    "detections": 25,
    "anchor_scales": [1.0],
    "anchor_ratios": [1.0, 2.0],
    "anchor_strides": [8, 16],
    "palette": [],
}
ANCHORS = 2 * (4 * 6 + 2 * 3)


def in_node(program: str, told: Any) -> Any:
    """What a program prints as JSON, given `told` and the page's modules."""
    require("nodejs")
    modules = "".join(
        f"import * as {name} from {json.dumps((BUNDLE / f'{name}.js').as_uri())};"
        for name in ("answer", "batch", "boxes", "colours", "parity")
    )
    whole = f"import {{ readFileSync }} from 'node:fs';{modules}const told = JSON.parse(readFileSync(0));{program}"
    command = ["node", "--input-type=module", "--eval", whole]
    return json.loads(subprocess.run(command, input=json.dumps(told).encode(), capture_output=True, check=True).stdout)


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores [N, K] and boxes [N, 4]."""
    generator = np.random.default_rng(seed)
    corner = generator.uniform(0, 30, (ANCHORS, 2))
    boxes = np.concatenate((corner, corner + generator.uniform(-2, 20, (ANCHORS, 2))), axis=1)
    return generator.random((ANCHORS, 3)).astype(np.float32), boxes.astype(np.float32)


def test_boxes_are_chosen_as_the_library_chooses_them() -> None:
    scores, boxes = drawn(0)
    found = in_node(
        "const of = (name) => Float32Array.from(told[name]);"
        "console.log(JSON.stringify(boxes.choose(of('scores'), of('boxes'), told.config, told.size)));",
        {"scores": scores.ravel().tolist(), "boxes": boxes.ravel().tolist(), "config": CONFIG, "size": SIZE},
    )
    expected = chosen(scores, boxes, SIZE, SimpleNamespace(**CONFIG))
    assert len(found) == len(expected.scores) > 5
    assert [one["label"] for one in found] == expected.labels.tolist()
    assert np.array_equal(np.float32([one["score"] for one in found]), expected.scores)
    assert np.array_equal(np.float32([one["box"] for one in found]), expected.boxes)


def test_rows_that_a_model_chose_itself_end_with_the_first_without_a_score() -> None:
    rows = [1, 2, 3, 4, 0.75, 2, *[0] * 6]
    found = in_node("console.log(JSON.stringify(boxes.listed(Float32Array.from(told))));", rows)
    assert found == [{"box": [1, 2, 3, 4], "score": 0.75, "label": 2}]


@pytest.mark.parametrize("own", [[], [7, 8, 9, 10, 11, 12]])
def test_colours_masks_and_frames_are_the_librarys(own: list[int]) -> None:
    generator = np.random.default_rng(1)
    picture = generator.integers(0, 256, (12, 20, 3), dtype=np.uint8)
    mask = generator.integers(0, 5, (6, 5), dtype=np.uint8)
    boxes = [[2.2, 1.7, 11.6, 8.4], [-3.0, 4.0, 30.0, 20.0]]
    told = {"picture": picture.ravel().tolist(), "mask": mask.ravel().tolist(), "own": own, "boxes": boxes}
    found = in_node(
        "const picture = { data: Uint8Array.from(told.picture), width: 20, height: 12 };"
        "const palette = colours.colours(told.own);"
        "const over = colours.overlaid(picture, { data: Uint8Array.from(told.mask), width: 5, height: 6 }, palette);"
        "const frames = colours.framed(picture, told.boxes.map((box, label) => ({ box, label })), palette);"
        "console.log(JSON.stringify([palette, over.data, frames.data].map((one) => [...one])));",
        told,
    )
    colours = palette_of(own)
    assert found[0] == colours.ravel().tolist()
    expected = overlaid(picture, coloured(mask, colours)).astype(int)
    assert np.abs(np.array(found[1]).reshape(picture.shape) - expected).max() <= 1  # halves are cut, not rounded
    assert found[2] == framed(picture, np.array(boxes), np.array([0, 1]), colours).ravel().tolist()


def test_a_map_of_logits_is_decided_pixel_by_pixel() -> None:
    logits = np.random.default_rng(2).standard_normal((1, 4, 3, 5)).astype(np.float32)
    program = (
        "const made = (data, dims) => ({ data: Float32Array.from(data), dims });"
        "const { data, width, height } = colours.maskOf({ logits: made(told.logits, told.dims) });"
        "console.log(JSON.stringify([[...data], width, height]));"
    )
    found = in_node(program, {"logits": logits.ravel().tolist(), "dims": logits.shape})
    assert found == [logits[0].argmax(axis=0).ravel().tolist(), 5, 3]


def test_an_answer_says_what_covers_the_picture() -> None:
    manifest = {"task": "segment", "labels": ["sky", "road"], "model": {"config": {"palette": []}}}
    found = in_node(
        "const mask = { data: Uint8Array.from([0, 1, 1, 1]), dims: [1, 2, 2] };"
        "const seen = { data: new Uint8Array(12), width: 2, height: 2 };"
        "const { classes } = answer.answer({ mask }, seen, told);"
        "console.log(JSON.stringify(classes));",
        manifest,
    )
    assert found == [{"label": "road", "probability": 0.75}, {"label": "sky", "probability": 0.25}]


def proof(change: float) -> Any:
    """The page's proof of a segmenter one of whose logits is off."""
    generator = np.random.default_rng(3)
    exact = generator.standard_normal((2, 3, 2, 2))
    mask = exact.argmax(axis=1)
    ordered = np.sort(exact, axis=1)
    told = {
        "exact": exact.ravel().tolist(),
        "mask": mask.ravel().tolist(),
        "margin": (ordered[:, -1] - ordered[:, -2]).ravel().tolist(),
        "limits": {"name": "logits", "max_abs": 0, "limit_max": 1e-3, "limit_rms": 1e-3},
        "change": change,
        "at": 4 * int((mask[0, 0, 0] + 1) % 3),  # another class of the first pixel
    }
    return in_node(
        "const logits = { data: Float64Array.from(told.exact), dims: [2, 3, 2, 2] };"
        "const mask = { data: Uint8Array.from(told.mask), dims: [2, 2, 2] };"
        "const margin = { data: Float32Array.from(told.margin), dims: [2, 2, 2] };"
        "const accepted = { min_sqnr_db: null, least_db: 60, sure_margin: 1, min_top1: null };"
        "const manifest = { parity: { outputs: [told.limits], accepted, spread: 1, batch_sizes: [1, 2] },"
        "  options: { batch: null, features: false }, task: 'segment' };"
        "const golden = { images: ['a', 'b'], feeds: { at: { data: Float64Array.from([0, 1]), dims: [2] } },"
        "  exact: { logits, mask }, margins: { mask: margin } };"
        "const run = async ({ at }) => {"
        "  const one = Float32Array.from(batch.rows(logits, [...at.data]).data);"
        "  one[told.at] += told.change;"
        "  const found = { data: one, dims: [at.data.length, 3, 2, 2] };"
        "  const masks = [...at.data].flatMap((_, i) => [...colours.maskOf({ logits: {"
        "    data: one.subarray(12 * i), dims: found.dims } }).data]);"
        "  return { logits: found, mask: { data: Uint8Array.from(masks), dims: [at.data.length, 2, 2] } };"
        "};"
        "console.log(JSON.stringify(await parity.check({ manifest, golden }, run, 'node')));",
        told,
    )


def test_the_page_proves_a_segmenter_by_its_logits_and_every_pixel() -> None:
    assert proof(0.0)["passed"]
    assert proof(0.0)["top1"] == 1
    assert proof(0.0)["batch_sizes"] == [1, 2]
    refused = proof(9.0)
    assert not refused["passed"]
    assert refused["top1"] < 1
    assert len(refused["flips"]) == 1
    assert refused["flips"][0]["image"] == "a"
    assert any("instead of" in one for one in refused["failures"])
