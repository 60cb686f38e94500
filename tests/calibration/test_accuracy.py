"""Top-1 by class folders."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slide_export.calibration.accuracy import top1
from slide_export.errors import CalibrationError
from slide_export.models import DataConfig

DATA = DataConfig(keep_aspect=False, scale=1.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for label, shade in (("cat", 10), ("dog", 200)):
        (tmp_path / label).mkdir()
        for index in range(30):
            Image.new("RGB", (8, 8), (shade,) * 3).save(tmp_path / label / f"{index}.png")
    return tmp_path


def by_brightness(pictures: np.ndarray) -> np.ndarray:
    bright = pictures.mean(axis=(1, 2, 3)) > 100
    return np.stack((~bright, bright), axis=1).astype(float)


def test_top1_counts_folders_in_order(root: Path) -> None:
    assert top1(by_brightness, root, DATA, (8, 8)) == 1.0
    assert top1(lambda pictures: by_brightness(pictures)[:, ::-1], root, DATA, (8, 8)) == 0.0
    assert top1(lambda pictures: np.tile([1.0, 0.0], (len(pictures), 1)), root, DATA, (8, 8)) == 0.5


def test_an_image_outside_a_class_folder_is_refused(root: Path) -> None:
    Image.new("RGB", (8, 8)).save(root / "stray.png")
    with pytest.raises(CalibrationError, match=r"stray\.png outside"):
        top1(by_brightness, root, DATA, (8, 8))
