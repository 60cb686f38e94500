"""Images are found in order, decoded upright, or named when they cannot be."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slide_export.calibration.images import bundled, decode, from_directory, read
from slide_export.errors import CalibrationError
from slide_export.models import DataConfig


def test_bundled_photographs_are_real_and_eight() -> None:
    images = bundled()
    pictures = read(images.files, DataConfig(), (64, 64))
    assert pictures.shape == (8, 64, 64, 3)
    assert all(picture.std() > 20 for picture in pictures)


def test_files_come_in_path_order_from_every_folder(tmp_path: Path) -> None:
    for name in ("b/2.png", "a/9.JPG", "a/1.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name, "PNG") if not name.endswith("txt") else (tmp_path / name).touch()
    assert from_directory(tmp_path).names() == ("a/1.png", "a/9.JPG", "b/2.png")


def test_spread_is_even_and_the_same_every_time(tmp_path: Path) -> None:
    for index in range(10):
        Image.new("RGB", (2, 2)).save(tmp_path / f"{index}.png")
    images = from_directory(tmp_path)
    assert images.spread(4).names() == ("0.png", "2.png", "5.png", "7.png")
    assert images.spread(20) is images


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    picture = Image.new("RGB", (6, 4))
    picture.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to stand upright
    picture.save(tmp_path / "turned.png", exif=exif)
    upright = decode(tmp_path / "turned.png")
    assert upright.size == (4, 6)
    assert upright.getpixel((3, 0)) == (255, 0, 0)


@pytest.mark.parametrize("content", [b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(30), b""])
def test_a_broken_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(CalibrationError, match=r"broken\.png cannot be decoded"):
        decode(tmp_path / "broken.png")


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:3000])
    with pytest.raises(CalibrationError, match=r"cut\.png"):
        decode(tmp_path / "cut.png")


def test_no_directory_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="found no directory"):
        from_directory(tmp_path / "absent")
    with pytest.raises(CalibrationError, match="found none"):
        from_directory(tmp_path)
