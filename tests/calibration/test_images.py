"""Images are found in order, decoded upright, or named when they cannot be."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slide_export.calibration.image_cache import PictureStore
from slide_export.calibration.images import bundled, decode, find, from_directory, read, readable
from slide_export.core.errors import CalibrationError
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


@pytest.mark.parametrize(("name", "kind"), [("gray.png", "<u2"), ("gray.tiff", "<u2"), ("gray.tiff", ">u2")])
def test_sixteen_bits_are_scaled_to_eight(name: str, kind: str, tmp_path: Path) -> None:
    deep = np.array([[0, 100 * 257], [200 * 257, 65535]], kind)
    Image.fromarray(deep).save(tmp_path / name)
    assert np.asarray(decode(tmp_path / name))[..., 1].tolist() == [[0, 100], [200, 255]]


@pytest.mark.parametrize(("kind", "mode"), [(np.float32, "F"), (np.int32, "I")])
def test_pixels_of_unknown_range_are_refused(kind: type, mode: str, tmp_path: Path) -> None:
    Image.fromarray(np.ones((4, 4), kind)).save(tmp_path / "deep.tiff")
    with pytest.raises(CalibrationError, match=rf"8 or 16 bits a channel, found Pillow's mode {mode} in .*deep\.tiff"):
        decode(tmp_path / "deep.tiff")


def test_a_picture_too_large_to_be_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with pytest.raises(CalibrationError, match=r"huge\.png cannot be decoded .*decompression bomb"):
        decode(tmp_path / "huge.png")


def with_broken(root: Path, good: int, broken: int) -> Path:
    """Writes broken files that come first, and good ones."""
    for index in range(good):
        Image.new("RGB", (4, 4)).save(root / f"{index:03d}.png")
    for index in range(broken):
        (root / f"!{index}.png").write_bytes(b"no picture")
    return root


def test_the_next_image_stands_in_for_a_broken_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = from_directory(with_broken(tmp_path, 9, 1))
    assert images.spread(4).names()[0] == "!0.png"
    assert readable(images, 4).names() == ("001.png", "004.png", "006.png", "000.png")
    assert caplog.messages == ["skipped !0.png: it cannot be decoded"]


def test_one_broken_file_of_a_few_is_skipped_and_two_are_refused(tmp_path: Path) -> None:
    assert len(readable(from_directory(with_broken(tmp_path, 3, 1)), 8).files) == 3
    with pytest.raises(CalibrationError, match=r"!1\.png cannot be decoded .*number 2 of 5 files"):
        readable(from_directory(with_broken(tmp_path, 3, 2)), 8)


def test_nothing_but_a_broken_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"!0\.png cannot be decoded .*number 1 of 1 files"):
        readable(from_directory(with_broken(tmp_path, 0, 1)), 8)


def test_a_list_may_name_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "1.png")
    (tmp_path / "list.csv").write_text(f"{tmp_path / '1.png'}\n")
    monkeypatch.chdir(tmp_path.parent)
    assert find(Path(tmp_path.name) / "list.csv").names() == ("1.png",)


def test_a_file_is_the_same_by_another_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = from_directory(with_broken(tmp_path, 3, 0))
    (tmp_path / "list.csv").write_text("000.png\n002.png\n")
    monkeypatch.chdir(tmp_path)
    assert images.without(find(Path("list.csv"))).names() == ("001.png",)


EXIF = {
    "signed rational": (0x011A, 10, struct.pack("<I", 200)),
    "text for a number": (0x0100, 2, b"abcd"),
    "bytes for a number": (0x0103, 1, b"abcd"),
    "a kind that is none": (0x0103, 99, b"abcd"),
}


@pytest.mark.parametrize("name", EXIF)
def test_exif_that_cannot_be_written_anew_turns_the_picture_all_the_same(name: str, tmp_path: Path) -> None:
    tag, kind, value = EXIF[name]
    entries = struct.pack("<HHI4s", tag, kind, 1, value), struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0II" + struct.pack("<HIH", 42, 8, 2) + b"".join(sorted(entries)) + bytes(4)
    exif += bytes(6 + 200 - len(exif)) + struct.pack("<ii", -5, 2)
    Image.new("RGB", (6, 4), (200, 10, 10)).save(tmp_path / "odd.jpg", exif=exif)
    assert decode(tmp_path / "odd.jpg").size == (4, 6)


def test_linked_folders_are_followed_but_in_a_circle(tmp_path: Path) -> None:
    """As torchvision's ImageFolder does."""
    for name in ("set/cat", "elsewhere/dog"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (2, 2)).save(tmp_path / name / "1.png")
    (tmp_path / "set/dog").symlink_to(tmp_path / "elsewhere/dog")
    (tmp_path / "set/cat/again").symlink_to(tmp_path / "set")
    assert from_directory(tmp_path / "set").names() == ("cat/1.png", "dog/1.png")


def test_what_is_left_out_is_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.pgm", "b.jfif", "c.jpe", "d.avif", "e.heic", ".ipynb_checkpoints/f.png", "@eaDir/g.png", "n.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "._a.png").touch()
    assert from_directory(tmp_path).names() == ("a.pgm", "b.jfif", "c.jpe", "d.avif", "e.heic")
    hidden, other = sorted(caplog.messages)
    assert hidden.startswith("left out 2 folders that hold no images of a set")
    assert ".ipynb_checkpoints" in hidden
    assert "@eaDir" in hidden
    assert other.startswith("left out 2 other files")
    assert "n.txt" in other


def test_a_name_that_is_no_utf8_is_used(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"bild\xfc.png")
    Image.new("RGB", (2, 2)).save(file)
    images = from_directory(tmp_path)
    assert images.names() == ("bild\\xfc.png",)
    assert decode(images.files[0]).size == (2, 2)
    assert images.without(images).files == ()


def test_a_place_that_the_system_does_not_take_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("a" * 300 + ".png\n")
    for place in (tmp_path / ("a" * 300), tmp_path / ("a" * 300 + ".zip"), tmp_path / "list.csv"):
        with pytest.raises(CalibrationError, match="cannot be looked at: File name too long"):
            find(place)


def test_a_list_may_have_headings_and_names_each_file_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("1.png", "2.png"):
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    (tmp_path / "list.csv").write_text("id,Filename\n0,1.png\n1,2.png\n2,1.png\n")
    assert find(tmp_path / "list.csv").names() == ("1.png", "2.png")
    assert caplog.messages == ["left out 1 rows of list.csv that name a file again"]


def test_a_narrow_picture_is_not_made_a_huge_one(tmp_path: Path) -> None:
    Image.new("RGB", (60_000, 1)).save(tmp_path / "1.png")
    with pytest.raises(CalibrationError, match="pixels at most once they are resized, found one of 1x60000"):
        PictureStore(DataConfig(), (224, 224)).load(tmp_path / "1.png")
