"""Segmenters of upstream's, exported: proved in every output, measured on label maps, read back, drawn."""

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
from slide_export.core.errors import CalibrationError, RequestError
from slide_export.core.request import AccuracyGoal
from slide_export.proof import parity
from slide_export.verification.bundle import measure_accuracy, task_in
from slide_export.verification.drawing import GAP
from tests.models.dense_cases import VALUES, golden, size, write
from tests.models.test_dense_golden import SEGMENTERS
from tests.targets import batch_of, made_here

AGREED = 1e-4
"""Largest error of an artifact over the output's deviation; float32's own is 5e-6 here."""


SMALL = (64, 96)

PLAIN = SimpleNamespace(palette=())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(golden("pvt_semfpn"), tmp_path_factory.mktemp("segmenter"))


@pytest.fixture(scope="module")
def masked(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Bundle of a mask in fp16, whose rounding moves the borders of some classes."""
    return export(checkpoint, "onnx", tmp_path_factory.mktemp("mask"), precision="fp16", output="mask")


def export(checkpoint: Path, target: str, out: Path, **options: Any) -> Any:
    asked = {"input_size": SMALL, "values": VALUES.get(checkpoint.stem, {}), "image_count": 2, **options}
    return api.export(checkpoint, target, out=out, **asked)


def test_a_mask_is_proved_by_its_logits_and_each_pixel(masked: Any) -> None:
    manifest = masked.manifest
    rows, cols = manifest.model.image_size
    assert [(spec.name, spec.dtype) for spec in manifest.outputs] == [("logits", "float32"), ("mask", "uint8")]
    assert [output.name for output in manifest.parity.outputs] == ["logits"]
    assert manifest.parity.decisions == rows * cols
    assert 0.99 < manifest.parity.top1 < 1  # the flips that the proof accepts are there
    assert manifest.parity.flips
    assert manifest.parity.passed
    assert manifest.options.output == "mask"


def test_a_mask_that_flips_one_sure_pixel_is_refused(masked: Any) -> None:
    reference = store.golden(masked)
    session = Altered(reference)
    assert parity.check(reference, session, None, decision_axis=1).top1 == 1
    sure = np.unravel_index(reference.margins["mask"][0].argmax(), reference.margins["mask"][0].shape)
    session.flip = (0, *map(int, sure))
    refused = parity.check(reference, session, None, decision_axis=1)
    assert len(refused.flips) == 1
    assert refused.flips[0].margin == pytest.approx(float(reference.margins["mask"][0].max()))
    assert refused.confident_flips
    assert not refused.passed


class Altered:
    """A session that answers as the reference rounded does, but for one pixel."""

    evaluator = "the reference"

    def __init__(self, reference: Any) -> None:
        self.reference, self.flip = reference, None

    def run(self, feeds: Any) -> Any:
        known = list(self.reference.feeds["images"])
        picked = [next(i for i, image in enumerate(known) if np.array_equal(image, fed)) for fed in feeds["images"]]
        mask = self.reference.exact["mask"].copy()
        if self.flip is not None:
            mask[self.flip] = (mask[self.flip] + 1) % 6
        return {"logits": self.reference.rounded["logits"][picked], "mask": mask[picked]}


def test_a_bundle_is_verified_alone_and_against_its_checkpoint(masked: Any, checkpoint: Path) -> None:
    assert api.verify(masked.path).passed
    assert api.verify(masked.path, against=checkpoint).top1 == masked.manifest.parity.top1


@pytest.mark.slow
def test_resized_logits_are_upstreams_last_resizing(tmp_path: Path) -> None:
    found = golden("swin_upernet_mmseg")
    made = export(write(found, tmp_path), "onnx", tmp_path, output="resized", input_size=size(found))
    assert made.manifest.parity.passed
    session = registry.load("onnx").Session(made.path / made.manifest.artifact.path, {})
    resized = session.run({"images": found.inputs["input"].numpy()})["logits"]
    assert resized.shape[2:] == size(found)
    near = found.meta["pixels_with_margin_below_fp32_error_x8"]
    assert (resized.argmax(axis=1) != found.outputs["argmax"]).sum() <= near


@pytest.mark.slow
def test_a_diagnosis_blames_no_module_of_a_proved_artifact(masked: Any, checkpoint: Path) -> None:
    found = api.diagnose(masked.path, checkpoint)
    assert found.culprit is None
    shown = {row.module for row in found.rows}
    assert any(name.startswith("backbone.block4") for name in shown)
    assert any(name.startswith("decode_head.") for name in shown)


@pytest.mark.parametrize("options", [{"output": "probabilities"}, {"softmax": True}, {"labels": ("one", "two")}])
def test_what_no_segmenter_has_is_refused(checkpoint: Path, options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        export(checkpoint, "onnx", tmp_path, **options)


@pytest.fixture
def labelled(masked: Any, tmp_path: Path) -> Path:
    """Photographs with the trained model's own classes as their truth."""
    rows, cols = masked.manifest.model.image_size
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    found = api.run(masked.path, [bundled().root])
    for answer in found.answers[:3]:
        Image.open(answer.image).convert("RGB").save(tmp_path / "images" / f"{answer.image.stem}.png")
        mask = answer.outputs["mask"]
        assert mask.shape == (rows, cols)
        Image.fromarray(mask).save(tmp_path / "labels" / f"{answer.image.stem}.png")
    return tmp_path


def test_classes_are_measured_against_label_maps(masked: Any, checkpoint: Path, labelled: Path) -> None:
    found = measure_accuracy(masked.path, checkpoint, AccuracyGoal(labelled))
    assert found.measured is not None
    assert found.measured.name == "mIoU"
    assert found.measured.artifact == 100.0  # its own classes are the truth
    assert 90.0 < found.measured.pytorch < 100.0
    assert found.images == 3
    assert found.drop == found.measured.pytorch - 100.0


def test_classes_beyond_the_heads_are_refused(masked: Any, checkpoint: Path, labelled: Path) -> None:
    file = next((labelled / "labels").iterdir())
    Image.fromarray(np.full((8, 8), 6, np.uint8)).save(file)
    with pytest.raises(CalibrationError, match=r"expected classes from 0 to 5 in .*found 6"):
        measure_accuracy(masked.path, checkpoint, AccuracyGoal(labelled))


def test_an_answer_is_drawn_beside_its_picture(masked: Any) -> None:
    file = bundled().files[0]
    answer = api.run(masked.path, [file]).answers[0]
    assert answer.drawn[0].startswith("class ")
    task = task_in(masked)
    rows, cols = masked.manifest.model.image_size
    picture = np.zeros((rows, cols, 3), np.uint8)
    drawn = task.picture({name: value[None] for name, value in answer.outputs.items()}, (picture,), PLAIN)
    assert drawn.shape == (rows, 2 * cols, 3)
    assert len(np.unique(drawn[:, cols:].reshape(-1, 3), axis=0)) == len(np.unique(answer.outputs["mask"]))


def test_golden_answers_are_drawn_above_the_trained_models(masked: Any, tmp_path: Path) -> None:
    rows, cols = masked.manifest.model.image_size
    (found,) = api.verify_all([masked.path], draw=tmp_path / "drawn")
    assert found.passed
    golden_file = store.golden(masked)
    files = sorted((tmp_path / "drawn").iterdir())
    assert [file.name for file in files] == sorted(
        f"{masked.path.name}-{Path(name).stem}.png" for name in golden_file.images
    )
    drawn = np.asarray(Image.open(files[0]))
    assert drawn.shape == (2 * rows + GAP, 2 * cols, 3)
    above, below = drawn[:rows], drawn[rows + GAP :]
    assert np.array_equal(above[:, :cols], below[:, :cols])  # the picture itself
    same = (above == below).all(axis=2).mean()
    assert same >= 2 * masked.manifest.parity.top1 - 1  # of the pixels whose class agrees
    assert len(np.unique(above[:, cols:].reshape(-1, 3), axis=0)) > 1


@pytest.mark.slow
@pytest.mark.parametrize(("target", "precision"), made_here(("fp32", "fp16")))
@pytest.mark.parametrize("name", SEGMENTERS)
def test_every_segmenter_is_proved_everywhere(name: str, target: str, precision: str, tmp_path: Path) -> None:
    found = golden(name)
    made = export(
        write(found, tmp_path),
        target,
        tmp_path,
        precision=precision,
        output="mask",
        input_size=size(found),
        batch=batch_of(target),
    )
    assert made.manifest.parity.passed
    if precision == "fp16":
        return
    backend, artifact = registry.load(target), made.manifest.artifact
    path = made.path / (artifact.graph or artifact.path)
    session = (registry.load("onnx") if artifact.graph else backend).Session(path, artifact.settings)
    logits = session.run({"images": found.inputs["input"].numpy()})["logits"].astype(np.float64)
    expected = found.outputs["logits"].astype(np.float64)
    assert np.abs(logits - expected).max() / expected.std() <= AGREED
