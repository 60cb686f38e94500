"""Class numbers come as they are written, a palette's indices too; colours are refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slide_export.calibration.label_maps import NUMBERED, decode_label_map
from slide_export.core.errors import CalibrationError

NUMBERS = np.array([[0, 1], [7, 255]], np.uint8)


def saved(picture: Image.Image, tmp_path: Path, name: str = "map.png") -> Path:
    picture.save(tmp_path / name)
    return tmp_path / name


def numbers(path: Path) -> list[list[int]]:
    found = decode_label_map(path)
    assert found.mode == "I"
    return np.asarray(found).tolist()  # type: ignore[no-any-return]


def test_gray_values_are_the_classes(tmp_path: Path) -> None:
    assert numbers(saved(Image.fromarray(NUMBERS), tmp_path)) == NUMBERS.tolist()


def test_a_palettes_indices_are_the_classes_and_not_its_colours(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 2))
    picture.putpalette([200, 100, 50] * 256)
    picture.putdata(NUMBERS.ravel().tolist())
    assert numbers(saved(picture, tmp_path)) == NUMBERS.tolist()


def test_numbers_beyond_a_byte_are_kept(tmp_path: Path) -> None:
    wide = np.array([[0, 256], [40_000, 65_535]], np.uint16)
    assert numbers(saved(Image.fromarray(wide), tmp_path)) == wide.tolist()
    assert numbers(saved(Image.fromarray(wide.astype(np.int32)), tmp_path, "map.tif")) == wide.tolist()


def test_two_classes_of_one_bit(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[True, False]]))
    assert picture.mode == "1"
    assert numbers(saved(picture, tmp_path)) == [[1, 0]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "CMYK", "F"])
def test_what_has_no_number_a_pixel_is_refused_by_its_mode(mode: str, tmp_path: Path) -> None:
    assert mode not in NUMBERED
    path = saved(Image.new(mode, (2, 2)), tmp_path, "map.tif")
    with pytest.raises(CalibrationError, match=rf"found Pillow's mode {mode} in .*map\.tif: write the number"):
        decode_label_map(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_what_cannot_be_decoded_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "map.png").write_bytes(content)
    with pytest.raises(CalibrationError, match=r"that can be decoded, .*map\.png cannot: "):
        decode_label_map(tmp_path / "map.png")
    with pytest.raises(CalibrationError, match=r"that can be decoded, .*none\.png cannot: "):
        decode_label_map(tmp_path / "none.png")
