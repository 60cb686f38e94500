"""Pictures: what an input was made of, the artifact's answer above the model's, files under names of their own."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slide_export.bundle.records import OptionsRecord, PreprocessingRecord
from slide_export.bundle.store import Bundle
from slide_export.core.artifact import DtypeStats, Feeds, Outputs
from slide_export.core.errors import RequestError
from slide_export.core.proof import Reference
from slide_export.core.task import Task
from slide_export.tasks import CLASSIFY
from slide_export.verification.drawing import GAP, beside_the_model, refuse_words, shown, write_each
from slide_export.verification.opening import OpenedArtifact
from tests.bundles import minimal

MEAN, STD = (0.5, 0.25, 0.125), (0.25, 0.5, 1.0)
FED_HERE = PreprocessingRecord(MEAN, STD, "bicubic", False, 1.0, (2, 3), (2, 3), False)


def test_a_normalised_input_is_the_picture_again() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    fed = ((picture / 255 - MEAN) / STD).transpose(2, 0, 1).astype(np.float32)
    assert np.array_equal(shown(fed, minimal(preprocessing=FED_HERE)), picture)


def test_numbers_beyond_a_picture_are_its_darkest_and_brightest() -> None:
    fed = np.full((3, 1, 2), -9.0, np.float32)
    fed[:, :, 1] = 9.0
    assert shown(fed, minimal(preprocessing=FED_HERE))[0].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_an_artifact_that_normalises_is_fed_the_picture_itself() -> None:
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    manifest = minimal(options=OptionsRecord("taps", None, None, True, False, False), preprocessing=FED_HERE)
    assert shown(picture, manifest) is picture


def brightness(found: Outputs, pictures: Any, config: Any) -> np.ndarray:
    """A picture of the first picture's size, as bright as the answer says."""
    assert config.num_classes == 2
    return np.full(pictures[0].shape, int(found["logits"][0, 0]), np.uint8)


DRAWN = Task("drawn", lambda _io: ("logits",), lambda *_: (), lambda *_: (), picture=brightness)


def test_words_alone_are_no_picture() -> None:
    with pytest.raises(RequestError, match=r"answers are pictures for draw, found classify: leave it out"):
        refuse_words(CLASSIFY)
    refuse_words(DRAWN)


class Bright:
    """Answers 200 for every image of a batch, and keeps the batches."""

    evaluator = "a fake"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, feeds: Feeds) -> Outputs:
        self.batches.append(len(feeds["images"]))
        return {"logits": np.full((len(feeds["images"]), 2), 200.0, np.float32)}


@pytest.mark.parametrize(("batch", "fed"), [(None, 1), (3, 3)])
def test_the_artifact_is_above_the_model_for_each_input(batch: int | None, fed: int, tmp_path: Path) -> None:
    manifest = minimal(options=OptionsRecord("taps", None, batch, False, False, False), preprocessing=FED_HERE)
    images, exact = np.zeros((2, 3, 2, 3), np.float32), np.array([[10.0, 0], [20.0, 0]])
    golden = Reference("a test", ("deep/sky.jpg", "sky.png"), {"images": images}, {"logits": exact}, {})
    session = Bright()
    artifact = OpenedArtifact(session, DtypeStats({}, {}))
    bundle = Bundle(tmp_path / "small", manifest)
    opened: Any = SimpleNamespace(bundle=bundle, golden=golden, artifact=artifact, task=DRAWN)
    first, second = beside_the_model(opened, tmp_path / "out")
    assert [first.name, second.name] == ["small-sky.png", "small-sky-1.png"]  # two inputs of one stem
    for path, below in ((first, 10), (second, 20)):
        drawn = np.asarray(Image.open(path))
        assert drawn.shape == (2 + GAP + 2, 3, 3)
        assert (np.unique(drawn[:2]), np.unique(drawn[2:-2]), np.unique(drawn[-2:])) == (200, 255, below)
    assert session.batches == [fed, fed]


def test_a_name_that_was_written_is_taken_and_a_file_of_before_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    dark, light = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)
    written = write_each([("a", dark), ("a", light), ("a", light), ("b", dark)], tmp_path)
    assert [path.name for path in written] == ["a.png", "a-1.png", "a-2.png", "b.png"]
    assert [int(np.asarray(Image.open(path)).max()) for path in written] == [0, 255, 255, 0]
