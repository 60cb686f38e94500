"""A detector of upstream's, exported: proved in both outputs, measured against boxes, drawn."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slide_export import api
from slide_export.backends import registry
from slide_export.bundle import store
from slide_export.calibration.images import bundled
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError
from slide_export.core.request import AccuracyGoal, ExportRequest
from slide_export.proof import parity
from slide_export.tasks.answers.average_precision import chosen
from slide_export.tasks.answers.suppress import detections
from slide_export.verification.bundle import measure_accuracy, rule_in, task_in
from slide_export.workflows import prepared_files
from slide_export.workflows.prepare import prepare
from slide_export.workflows.resolve import resolve
from tests.models.dense_cases import VALUES, golden, size, write
from tests.models.test_retinanet_golden import DETECTORS
from tests.targets import batch_of, made_here

AGREED = 1e-4
"""Largest error of an artifact over the output's deviation; float32's own is 5e-6 here."""
SMALL = (64, 96)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(golden("pvt_retinanet_fork"), tmp_path_factory.mktemp("detector"))


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return export(checkpoint, "onnx", tmp_path_factory.mktemp("boxes"))


def export(checkpoint: Path, target: str, out: Path, **options: Any) -> Any:
    asked = {"input_size": SMALL, "values": VALUES.get(checkpoint.stem, {}), "image_count": 2, **options}
    return api.export(checkpoint, target, out=out, **asked)


def test_scores_and_boxes_of_every_anchor_are_proved(exported: Any) -> None:
    manifest = exported.manifest
    anchors = 9 * (8 * 12 + 4 * 6 + 2 * 3 + 1 * 2 + 1 * 1)
    assert [(spec.name, spec.shape) for spec in manifest.outputs] == [
        ("scores", ("batch", anchors, 5)),
        ("boxes", ("batch", anchors, 4)),
    ]
    assert manifest.parity.passed
    assert manifest.parity.top1 is None
    assert manifest.options.output == "boxes"


@pytest.mark.parametrize("name", ["scores", "boxes"])
def test_an_anchor_that_is_off_fails_the_proof(exported: Any, name: str) -> None:
    reference = store.golden(exported)
    limits = {output.name: output.limit_max for output in exported.manifest.parity.outputs}

    class Off:
        evaluator = "the reference"

        def run(self, feeds: Any) -> Any:
            known = list(reference.feeds["images"])
            picked = [next(i for i, one in enumerate(known) if np.array_equal(one, fed)) for fed in feeds["images"]]
            found = {key: value[picked].copy() for key, value in reference.rounded.items()}
            found[name][:, 7, 1] += np.float32(2 * limits[name])
            return found

    assert not parity.check(reference, Off(), None, decision_axis=None).passed


@pytest.fixture(scope="module")
def choosing(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return export(checkpoint, "onnx", tmp_path_factory.mktemp("nms"), nms=True)


def test_boxes_chosen_inside_are_upstreams_choice(choosing: Any) -> None:
    manifest, config = choosing.manifest, choosing.manifest.model.config
    assert manifest.options.nms
    assert (manifest.outputs[2].name, manifest.outputs[2].shape) == ("detections", ("batch", config["detections"], 6))
    assert [output.name for output in manifest.parity.outputs] == ["scores", "boxes"]
    assert manifest.parity.rule.faults == 0
    assert manifest.parity.rule.answers > 0
    outputs = api.run(choosing.path, [bundled().files[0]]).answers[0].outputs
    expected = chosen(outputs["scores"], outputs["boxes"], SMALL, SimpleNamespace(**config))
    found = outputs["detections"][: len(expected.scores)]
    assert not outputs["detections"][len(expected.scores) :].any()
    assert np.array_equal(found[:, 4], expected.scores)
    assert np.array_equal(found[:, 5], expected.labels)
    assert np.array_equal(found[:, :4], expected.boxes)


def test_a_choice_is_proved_again_from_the_bundle_alone(choosing: Any) -> None:
    assert api.verify(choosing.path).rule == choosing.manifest.parity.rule


def test_another_process_proves_a_choice_by_the_same_rule(checkpoint: Path, tmp_path: Path) -> None:
    asked = ExportRequest(
        checkpoint,
        out=tmp_path / "out",
        input_size=SMALL,
        values=VALUES[checkpoint.stem],
        image_count=1,
        interface=ModelIO(nms=True),
    )
    prepared_files.write(prepare(resolve(asked).source), tmp_path)
    truth = prepared_files.read(tmp_path).truth
    assert truth.rule is not None
    one = {name: value.astype(np.float32) for name, value in truth.exact.items()}
    found = truth.rule.judge(one, truth.exact)
    assert (found.faults, found.matched) == (0, found.expected)


def test_a_choice_that_leaves_out_its_best_is_refused(choosing: Any) -> None:
    rule, golden_file = rule_in(choosing), store.golden(choosing)
    outputs = {name: value[:1].copy() for name, value in golden_file.rounded.items()}
    assert rule.judge(outputs, outputs).faults == 0
    outputs["detections"] = np.roll(outputs["detections"], -1, axis=1)
    outputs["detections"][:, -1] = 0
    assert rule.judge(outputs, outputs).faults > 0


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("coreml", {}, "nms is not available for coreml, which runs no NonMaxSuppression: take onnx or openvino"),
        ("onnx", {"output": "raw"}, "expected nms with boxes, found it with raw outputs"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(
    checkpoint: Path, target: str, options: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=message):
        export(checkpoint, target, tmp_path, nms=True, **options)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("target", ["onnx", "openvino"])
@pytest.mark.parametrize("name", DETECTORS)
def test_every_detectors_choice_is_proved(name: str, target: str, precision: str, tmp_path: Path) -> None:
    found = golden(name)
    made = export(write(found, tmp_path), target, tmp_path, precision=precision, nms=True, input_size=size(found))
    assert made.manifest.parity.rule.faults == 0


def test_a_detector_has_no_mask(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"of detect \(boxes, raw\), found 'mask'"):
        export(checkpoint, "onnx", tmp_path, output="mask")


def test_average_precision_is_measured_against_boxes(exported: Any, checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    Image.open(bundled().files[0]).convert("RGB").resize((SMALL[1], SMALL[0])).save(tmp_path / "1.png")
    task, answer = task_in(exported), api.run(exported.path, [tmp_path / "1.png"]).answers[0]
    rows = [
        {"id": at, "image_id": 1, "category_id": label + 1, "bbox": box}
        for at, (box, label) in enumerate(detected(answer.outputs), start=1)
    ]
    content = {
        "images": [{"id": 1, "file_name": "1.png", "width": SMALL[1], "height": SMALL[0]}],
        "categories": [{"id": number} for number in range(1, 6)],
        "annotations": rows,
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    found = measure_accuracy(exported.path, checkpoint, AccuracyGoal(path))
    assert found.measured is not None
    assert found.measured.name == "AP"
    assert found.measured.artifact > 50.0  # its own boxes
    assert abs(found.measured.pytorch - found.measured.artifact) <= 1.0
    assert task.measure is not None


def detected(outputs: Any) -> list[tuple[list[float], int]]:
    """Boxes (left, top, width, height) and classes of the best detections."""
    best = detections(outputs["scores"], outputs["boxes"], most=10)
    sides = np.concatenate((best.boxes[:, :2], best.boxes[:, 2:] - best.boxes[:, :2]), axis=1)
    return list(zip(sides.astype(float).tolist(), best.labels.tolist(), strict=True))


def test_an_answer_is_drawn_in_its_picture(exported: Any) -> None:
    answer = api.run(exported.path, [bundled().files[0]]).answers[0]
    drawn = task_in(exported).picture(
        {name: value[None] for name, value in answer.outputs.items()},
        (np.zeros((*SMALL, 3), np.uint8),),
        SimpleNamespace(palette=()),
    )
    assert drawn.shape == (*SMALL, 3)
    assert drawn.any() == (answer.outputs["scores"].max() > 0.3)


@pytest.mark.slow
@pytest.mark.parametrize("output", ["boxes", "raw"])
@pytest.mark.parametrize(("target", "precision"), made_here(("fp32", "fp16")))
@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_is_proved_everywhere(
    name: str, target: str, precision: str, output: str, tmp_path: Path
) -> None:
    found = golden(name)
    asked = {"precision": precision, "output": output, "input_size": size(found), "batch": batch_of(target)}
    made = export(write(found, tmp_path), target, tmp_path, **asked)
    assert made.manifest.parity.passed
    if precision == "fp16" or output == "raw":
        return
    backend, artifact = registry.load(target), made.manifest.artifact
    path = made.path / (artifact.graph or artifact.path)
    session = (registry.load("onnx") if artifact.graph else backend).Session(path, artifact.settings)
    scores = session.run({"images": found.inputs["input"].numpy()})["scores"].astype(np.float64)
    expected = found.outputs["scores"].astype(np.float64)
    assert np.abs(scores - expected).max() / expected.std() <= AGREED
