"""Answers of the trained model are recorded once, found by the pictures themselves, and of the same bytes each time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slide_export.calibration.evaluation_set import EvaluationSet
from slide_export.calibration.image_cache import PictureStore
from slide_export.calibration.images import bundled, from_directory
from slide_export.calibration.parts import BrokenFiles, FileRange, chunks
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import BundleError
from slide_export.core.model import Model
from slide_export.inference.served import ServedModel, serve
from slide_export.proof import accuracy, recorded


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSet:
    """Sixty pictures, of which one cannot be decoded: two chunks."""
    root, photograph = tmp_path_factory.mktemp("many"), Image.open(bundled().files[0]).convert("RGB")
    for index in range(60):
        photograph.crop((index, index, index + 70, index + 70)).save(root / f"{index:02}.png")
    (root / "05.png").write_bytes(b"no picture")
    return EvaluationSet(from_directory(root))


@pytest.fixture(scope="module")
def served(model: Model) -> ServedModel:
    return serve(model, ModelIO())


def store(model: Model) -> PictureStore:
    return PictureStore(model.data, model.image_size)


def test_what_was_recorded_is_what_the_model_answers(
    served: ServedModel, model: Model, data: EvaluationSet, tmp_path: Path
) -> None:
    recorded.record(served, data, store(model), FileRange(0, 60), tmp_path / "answers.npz")
    known = recorded.read(tmp_path / "answers.npz")
    assert len(known) == 2

    def refused(_: Any) -> Any:
        raise AssertionError("it was recorded")

    scores, compute = recorded.remembered(refused, known), accuracy.of_pytorch(served)
    for _, pictures, _ in chunks(data, store(model), 48, BrokenFiles(data.images)):
        assert scores(pictures)["logits"].tobytes() == np.asarray(compute(pictures)["logits"]).tobytes()


def test_another_pixel_is_computed_anew(served: ServedModel, model: Model, data: EvaluationSet, tmp_path: Path) -> None:
    recorded.record(served, data, store(model), FileRange(0, 48), tmp_path / "answers.npz")
    asked: list[int] = []

    def compute(pictures: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        asked.append(len(pictures[0]))
        return {"logits": np.zeros((len(pictures[0]), 10), np.float32)}

    scores = recorded.remembered(compute, recorded.read(tmp_path / "answers.npz"))
    ((_, pictures, _),) = chunks(data, store(model), 48, BrokenFiles(data.images), FileRange(0, 48))
    scores(pictures)
    assert asked == []
    changed = (pictures[0].copy(),)
    changed[0][3, 0, 0, 0] ^= 1
    scores(changed)
    assert asked == [47]


def test_a_file_has_the_same_bytes_each_time(
    served: ServedModel, model: Model, data: EvaluationSet, tmp_path: Path
) -> None:
    for name in ("first.npz", "second.npz"):
        recorded.record(served, data, store(model), FileRange(0, 60), tmp_path / name)
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()


def test_maps_are_not_recorded(model: Model, data: EvaluationSet, tmp_path: Path) -> None:
    features = serve(model, ModelIO(features=True))
    recorded.record(features, data, store(model), FileRange(0, 48), tmp_path / "answers.npz")
    assert recorded.read(tmp_path / "answers.npz") == {}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive at all"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "answers.npz").write_bytes(content)
    with pytest.raises(BundleError, match="expected recorded answers"):
        recorded.read(tmp_path / "answers.npz")
