"""Several processes measure what one does, bit for bit, and a failure of one is told as itself."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import slide_export
from slide_export.bundle.store import Bundle
from slide_export.calibration.evaluation_set import EvaluationSet
from slide_export.calibration.images import ImageSet, bundled, read
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import CalibrationError, CrashError, RequestError
from slide_export.core.model import Model
from slide_export.inference.served import ServedModel, serve
from slide_export.proof import accuracy
from slide_export.workflows import evaluate_apart

IMAGES = 110  # more than two chunks


@pytest.fixture(scope="module")
def folders(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures cut from photographs, most in the folder of what the trained model sees; one that is none."""
    root, rng = tmp_path_factory.mktemp("many"), np.random.default_rng(1)
    photographs = [Image.open(file).convert("RGB") for file in bundled().files]
    for index in range(IMAGES):
        whole = photographs[index % len(photographs)]
        left, top = (int(rng.integers(0, size - 90)) for size in whole.size)
        whole.crop((left, top, left + 90, top + 90)).save(root / f"{index:03}.png")
    files = tuple(sorted(root.glob("*.png")))
    scores = accuracy.of_pytorch(serve(model, ModelIO()))((read(files, model.data, model.image_size),))["logits"]
    for index, (file, answer) in enumerate(zip(files, scores.argmax(axis=1), strict=True)):
        label = str((int(answer) + (index % 9 == 0)) % model.config.num_classes)
        (root / label).mkdir(exist_ok=True)
        file.rename(root / label / file.name)
    sorted(root.glob("*/*.png"))[70].write_bytes(b"no picture")
    return root


@pytest.fixture
def as_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a runtime adds up follows from its threads, so each process gets those of a single one; sets are small."""
    monkeypatch.setenv("OMP_NUM_THREADS", str(os.cpu_count()))
    monkeypatch.setattr(evaluate_apart, "LEAST_IMAGES", 50)


def in_bits(report: Any) -> str:
    return json.dumps({name: repr(value) for name, value in asdict(report).items()})


@pytest.mark.slow
@pytest.mark.usefixtures("as_many_threads")
def test_a_bundle_loses_the_same_whoever_counts(onnx_bundle: Bundle, checkpoint: Path, folders: Path) -> None:
    reports = [
        slide_export.verify_all([onnx_bundle.path], checkpoint, folders, max_drop=100.0, jobs=jobs)[0].accuracy
        for jobs in (1, 2)
    ]
    assert reports[0] is not None
    assert (reports[0].images, reports[0].skipped) == (IMAGES - 1, 1)
    assert reports[0].pytorch is not None
    assert 0.5 < reports[0].pytorch.top1 < 1
    assert in_bits(reports[0]) == in_bits(reports[1])


@pytest.mark.slow
@pytest.mark.usefixtures("as_many_threads")
def test_an_export_loses_the_same_whoever_counts(checkpoint: Path, folders: Path, tmp_path: Path) -> None:
    found = [
        slide_export.export(
            checkpoint, out=tmp_path / str(jobs), precision="fp16", evaluation=folders, max_drop=100.0, jobs=jobs
        ).manifest.accuracy
        for jobs in (1, 2)
    ]
    assert found[0] is not None
    assert found[0] == found[1]


def some(count: int) -> EvaluationSet:
    return EvaluationSet(ImageSet("made up", Path(), tuple(Path(f"{n}.png") for n in range(count))))


@pytest.mark.parametrize(
    ("files", "jobs", "processes"), [(383, 2, 1), (384, 2, 2), (100_000, 4, 4), (0, 4, 1), (600, 8, 3)]
)
def test_few_images_are_not_divided(files: int, jobs: int, processes: int) -> None:
    assert evaluate_apart.processes(some(files), jobs) == processes


def test_a_process_that_refuses_is_told_as_itself(
    onnx_bundle: Bundle, checkpoint: Path, model: Model, tmp_path: Path
) -> None:
    order = {"bundle": str(onnx_bundle.path), "against": str(checkpoint), "images": str(tmp_path / "none")}
    served: ServedModel = serve(model, ModelIO())
    with pytest.raises(CalibrationError, match="found no directory at"):
        evaluate_apart._counted("slide_export.workflows.evaluate_apart:part_of_bundle", order, served, some(100), 2)


def test_a_process_that_crashes_is_told(model: Model) -> None:
    with pytest.raises(CrashError, match="evaluate it in one process"):
        evaluate_apart._counted("os:abort", {}, serve(model, ModelIO()), some(100), 2)


def test_no_process_at_all_is_refused(onnx_bundle: Bundle, checkpoint: Path) -> None:
    with pytest.raises(RequestError, match="at least 1 process for jobs, found 0"):
        slide_export.verify_all([onnx_bundle.path], jobs=0)
    with pytest.raises(RequestError, match="at least 1 process"):
        slide_export.export(checkpoint, jobs=-1)
