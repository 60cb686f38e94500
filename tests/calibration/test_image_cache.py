"""Images are decoded once, broken ones skipped by name, and fed the same way every time."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from slide_export.calibration import image_cache
from slide_export.calibration.image_cache import FedImages, PictureStore, cached
from slide_export.calibration.images import decode, find, readable
from slide_export.calibration.preprocess import normalise
from slide_export.core.errors import CalibrationError
from slide_export.models import DataConfig

DATA = DataConfig(keep_aspect=False, scale=1.0)


def folder(place: Path, good: int, broken: int) -> Path:
    (place / "images").mkdir()
    for index in range(good):
        Image.new("RGB", (6, 6), (index, 2, 3)).save(place / "images" / f"{index:03d}.png")
    for index in range(broken):
        (place / "images" / f"x{index}.png").write_bytes(b"no picture")
    return place / "images"


def test_every_pass_starts_at_the_first_image(tmp_path: Path) -> None:
    made = cached(find(folder(tmp_path, 3, 0)), PictureStore(DATA, (4, 4)))
    assert [int(picture[0, 0, 0]) for picture in made] == [0, 1, 2] == [int(picture[3, 3, 0]) for picture in made]


def test_a_file_is_decoded_once_whoever_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, decoded = find(folder(tmp_path, 3, 1)), []
    monkeypatch.setattr(image_cache, "decode", lambda file: decoded.append(file) or decode(file))
    store = PictureStore(DATA, (4, 4))
    for _ in range(2):
        assert [file.name for file in readable(images, 4, store.load).files] == ["000.png", "001.png", "002.png"]
    assert len(cached(images, store)) == 3
    assert int(store.stacked(images.files[:2])[0][1, 0, 0, 0]) == 1
    assert sorted(decoded) == sorted(images.files)  # the broken one too


def test_a_broken_file_among_many_is_skipped_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made = cached(find(folder(tmp_path, 60, 1)), PictureStore(DATA, (4, 4)))
    assert len(made) == 60
    assert caplog.messages == ["skipped x0.png: it cannot be decoded"]


def test_too_many_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CalibrationError, match=r"x1\.png cannot be decoded .*number 2 of 62 files; up to 2% are skipped"
    ):
        cached(find(folder(tmp_path, 60, 2)), PictureStore(DATA, (4, 4)))


@pytest.mark.parametrize("batch", [None, 3])
def test_a_graph_is_fed_normalised_images(batch: int | None, tmp_path: Path) -> None:
    made = cached(find(folder(tmp_path, 2, 0)), PictureStore(DATA, (4, 4)))

    def feed(pictures: Sequence[NDArray[np.uint8]]) -> dict[str, NDArray[np.float32]]:
        return {"images": normalise(pictures[0], DATA)}

    fed = [feeds["images"] for feeds in FedImages(made, feed, batch or 1)]
    expected = normalise(np.full((1, 4, 4, 3), (1, 2, 3), np.uint8), DATA)
    assert len(fed) == 2
    assert fed[1].shape == (batch or 1, 3, 4, 4)
    assert np.array_equal(fed[1][-1:], expected)


def test_embedded_preprocessing_is_fed_pixels(tmp_path: Path) -> None:
    made = cached(find(folder(tmp_path, 1, 0)), PictureStore(DATA, (4, 4)))
    (feeds,) = FedImages(made, lambda pictures: {"images": pictures[0]})
    assert (feeds["images"].dtype, feeds["images"].shape) == (np.uint8, (1, 4, 4, 3))


def test_a_sample_is_drawn_by_its_seed(tmp_path: Path) -> None:
    images = find(folder(tmp_path, 40, 0))
    assert images.sample(9, 0).files == images.sample(9, 0).files != images.sample(9, 1).files
    assert list(images.sample(9, 0).files) == sorted(images.sample(9, 0).files)
    assert images.sample(99, 0) is images
    assert len(images.without(images.sample(9, 0)).files) == 31
