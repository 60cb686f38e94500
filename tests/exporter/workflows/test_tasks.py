"""Three families and tasks that the centre was not written for: exported, proved and read back on every target."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slide_export import api
from slide_export.backends import registry
from slide_export.bundle import store
from slide_export.calibration.images import bundled
from slide_export.core.errors import ParityError, RequestError
from slide_export.core.proof import Reference
from slide_export.proof import parity
from tests.exporter.workflows.toys import FAMILIES, save
from tests.targets import batch_of

TOYS = tuple(FAMILIES)


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two crops of each photograph, `left/N.png` and `right/N.png`."""
    root = tmp_path_factory.mktemp("views")
    for side, offset in (("left", 0), ("right", 40)):
        (root / side).mkdir()
        for index, file in enumerate(bundled().files):
            Image.open(file).convert("RGB").crop((offset, offset, offset + 120, offset + 120)).save(
                root / side / f"{index}.png"
            )
    return root


def options(toy: str, views: Path, out: Path) -> dict[str, Any]:
    family, task = FAMILIES[toy]
    images = {"images": views} if toy == "pair" else {}
    return {"families": (family,), "tasks": (task,), "out": out, "image_count": 3, **images}


@pytest.mark.parametrize("toy", TOYS)
@pytest.mark.parametrize("target", registry.names())
def test_a_toy_is_proved_on_every_target(toy: str, target: str, views: Path, tmp_path: Path) -> None:
    if not registry.availability(target).ready:
        pytest.skip(f"{target} is not installed")
    asked = options(toy, views, tmp_path)
    checkpoint = save(toy, tmp_path / "toy.pth")
    batch = 2 if toy == "pair" else batch_of(target)
    if (target, batch) == ("ncnn", 2):
        with pytest.raises(RequestError, match="ncnn has no batch axis"):
            api.export(checkpoint, target, **asked, batch=batch)
        batch = 1
    made = api.export(checkpoint, target, **asked, batch=batch)
    family, task = FAMILIES[toy]
    manifest = made.manifest
    assert manifest.parity.passed
    assert manifest.task == task.name
    assert [spec.name for spec in manifest.inputs] == list(task.inputs)
    assert manifest.parity.top1 == (None if task.decision_axis is None else 1.0)
    assert manifest.parity.decisions == {"pair": 1, "pixels": 64, "restore": 0}[toy]
    assert api.verify(made.path, families=(family,), tasks=(task,)).passed


@pytest.mark.parametrize("toy", TOYS)
def test_every_verb_takes_a_toy(toy: str, views: Path, tmp_path: Path) -> None:
    checkpoint = save(toy, tmp_path / "toy.pth")
    family, task = FAMILIES[toy]
    made = api.export(checkpoint, **options(toy, views, tmp_path))
    assert api.verify(made.path, checkpoint, families=(family,), tasks=(task,)).passed
    found = api.diagnose(made.path, checkpoint, families=(family,), tasks=(task,))
    assert found.culprit is None
    assert found.rows
    (run,) = api.bench([made.path], rounds=1, calls=2).runs
    assert run.p50_ms.value > 0


@pytest.mark.parametrize("toy", TOYS)
def test_int8_and_the_accuracy_gate_take_a_toy_or_refuse_it_by_name(toy: str, views: Path, tmp_path: Path) -> None:
    asked = {**options(toy, views, tmp_path), "images": views, "precision": "w8"}
    made = api.export(save(toy, tmp_path / "toy.pth"), **asked, evaluation=views, min_sqnr_db=20.0)
    assert made.manifest.accuracy is not None
    assert made.manifest.accuracy.passed
    assert made.manifest.accuracy.pytorch is None  # nobody said what is right
    with pytest.raises(RequestError, match=f"max_drop needs scores of classes, {FAMILIES[toy][1].name} has none"):
        api.export(tmp_path / "toy.pth", **{**asked, "overwrite": True}, evaluation=views, max_drop=1.0)


class Flipped:
    """A session that answers as the reference does, but for one pixel of one image whose class it changes."""

    evaluator = "a fake"

    def __init__(self, reference: Reference, image: int) -> None:
        self.reference, self.image = reference, image

    def run(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        (fed,) = feeds.values()
        every = next(iter(self.reference.feeds.values()))
        rows = [next(i for i, row in enumerate(every) if np.array_equal(row, one)) for one in fed]
        scores = self.reference.exact["scores"][rows].astype(np.float32)
        for place, row in enumerate(rows):
            if row == self.image:
                column = scores[place, :, 3, 4]
                column[:] = np.roll(column, 1)
        return {"scores": scores}


def test_a_confident_flip_of_one_pixel_fails_the_proof(views: Path, tmp_path: Path) -> None:
    made = api.export(save("pixels", tmp_path / "toy.pth"), **options("pixels", views, tmp_path))
    golden = store.golden(made)
    report = parity.check(golden, Flipped(golden, 1), None, decision_axis=1)
    assert not report.passed
    (flip,) = report.flips
    assert flip.image == f"{golden.images[1]} at 3,4"
    # Within its limits by error alone, the flip is still refused.
    near = replace(report, outputs=tuple(replace(one, limit_max=1e-6, max_abs=0.0, rms=0.0) for one in report.outputs))
    assert near.confident_flips
    assert not near.passed


def test_inputs_that_are_exchanged_fail_the_proof(views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = registry.load("onnx").Session
    honest = session.run

    def exchanged(self: Any, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        return honest(self, {"left": feeds["right"], "right": feeds["left"]})

    monkeypatch.setattr(session, "run", exchanged)
    with pytest.raises(ParityError, match="expected scores within"):
        api.export(save("pair", tmp_path / "toy.pth"), **options("pair", views, tmp_path))


def test_a_task_that_nobody_gave_is_refused_by_name(views: Path, tmp_path: Path) -> None:
    asked = {**options("pixels", views, tmp_path), "tasks": ()}
    with pytest.raises(
        RequestError,
        match=r"expected a task of classify, .*, restore, .*features; the family names 'pixels'",
    ):
        api.export(save("pixels", tmp_path / "toy.pth"), **asked)
