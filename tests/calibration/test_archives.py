"""The same pictures come out of a folder, a zip, an npz and a list."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy
from PIL import Image

from slide_export.calibration.images import decode, find
from slide_export.core.errors import CalibrationError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("b/0.png", "a/1.png", "a/0.png"):
        (tmp_path / "folder" / name).parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)).save(tmp_path / "folder" / name)
    return tmp_path / "folder"


def pixels(place: Path) -> list[bytes]:
    return [decode(file).tobytes() for file in find(place).files]


def test_a_zip_holds_what_the_folder_holds(folder: Path) -> None:
    archive = folder.parent / "images.zip"
    with zipfile.ZipFile(archive, "w") as content:
        for file in folder.rglob("*.png"):
            content.write(file, file.relative_to(folder))
        content.writestr("__MACOSX/a/._0.png", b"no picture")
        content.writestr("notes.txt", b"no picture")
    assert find(archive).names() == find(folder).names() == ("a/0.png", "a/1.png", "b/0.png")
    assert pixels(archive) == pixels(folder)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_holds_the_same_pictures_in_any_order(save: object, folder: Path) -> None:
    stack = np.stack([np.asarray(decode(file)) for file in find(folder).files])
    save(folder.parent / "images.npz", images=stack, labels=np.arange(3))  # type: ignore[operator]
    assert pixels(folder.parent / "images.npz") == pixels(folder)
    backwards = [decode(file).tobytes() for file in reversed(find(folder.parent / "images.npz").files)]
    assert backwards == pixels(folder)[::-1]


def test_gray_arrays_become_rgb(tmp_path: Path) -> None:
    np.savez(tmp_path / "gray.npz", np.full((2, 3, 4, 1), 9, np.uint8))
    picture = decode(find(tmp_path / "gray.npz").files[1])
    assert (picture.mode, picture.size, picture.getpixel((0, 0))) == ("RGB", (4, 3), (9, 9, 9))


def test_a_list_is_relative_to_itself(folder: Path) -> None:
    (folder / "list.csv").write_text("file,label\nb/0.png,3\na/1.png,4\n")
    assert find(folder / "list.csv").names() == ("b/0.png", "a/1.png")


def test_a_rewritten_archive_is_read_anew(tmp_path: Path) -> None:
    for value in (1, 2):
        np.savez(tmp_path / "images.npz", np.full((value, 3, 5), value, np.uint8))
        assert [decode(file).getpixel((0, 0))[0] for file in find(tmp_path / "images.npz").files] == [value] * value


def test_unfit_archives_are_refused(tmp_path: Path, folder: Path) -> None:
    def refused(name: str, message: str) -> None:
        with pytest.raises(CalibrationError, match=message):
            find(tmp_path / name)

    np.savez(tmp_path / "float.npz", np.zeros((2, 3, 4, 4), np.float32))
    np.savez(tmp_path / "two.npz", a=np.zeros(1), b=np.zeros(1))
    np.savez(tmp_path / "fortran.npz", np.asfortranarray(np.zeros((2, 4, 5, 3), np.uint8)))
    (tmp_path / "broken.npz").write_bytes(b"PK no archive")
    (tmp_path / "broken.zip").write_bytes(b"PK no archive")
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    (tmp_path / "list.csv").write_text("absent.png\n")
    (tmp_path / "outside.csv").write_text("../" * 3 + "etc/hostname.png\n")
    np.savez(tmp_path / "single.npz", np.zeros((6, 8, 3), np.uint8))
    with zipfile.ZipFile(tmp_path / "none.npz", "w") as content:
        content.writestr("notes.txt", b"no array")
    refused("single.npz", r"found uint8 \[6, 8, 3\]: that is one picture, add an axis")
    refused("none.npz", "one called 'images' in .* found none")
    refused("float.npz", r"expected uint8 pictures .* found float32 \[2, 3, 4, 4\]")
    refused("two.npz", "one called 'images' in .* found a, b")
    refused("fortran.npz", "C order")
    refused("broken.npz", "cannot be read")
    refused("broken.zip", "cannot be read")
    refused("empty.zip", "found none")
    refused("list.csv", "absent.png, as .* says; found none")
    refused("outside.csv", "found none|found files")
    refused("absent.zip", "found no such file")


@pytest.mark.parametrize("name", ["./a/0.png", "a//0.png", "/a/0.png"])
def test_a_zip_may_name_its_files_in_any_way(name: str, folder: Path) -> None:
    archive = folder.parent / "images.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr(name, (folder / "a/0.png").read_bytes())
    assert find(archive).names() == ("a/0.png",)
    assert pixels(archive) == [decode(folder / "a/0.png").tobytes()]


FLAGS, METHOD = (6, 8), (8, 10)  # in the header before a file and in the directory: APPNOTE.TXT 4.3.7 and 4.3.12


def altered(archive: Path, places: tuple[int, int], value: int) -> None:
    content = bytearray(archive.read_bytes())
    for signature, place in zip((b"PK\x03\x04", b"PK\x01\x02"), places, strict=True):
        content[content.index(signature) + place] = value
    archive.write_bytes(content)


@pytest.mark.parametrize(
    ("places", "value", "reason"), [(FLAGS, 1, "password required"), (METHOD, 77, "compression method")]
)
def test_what_cannot_be_unpacked_is_named(places: tuple[int, int], value: int, reason: str, folder: Path) -> None:
    archive = folder.parent / "images.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.write(folder / "a/0.png", "0.png")
    altered(archive, places, value)
    with pytest.raises(CalibrationError, match=rf"0\.png of .*images\.zip cannot \(.*{reason}"):
        decode(find(archive).files[0])
    np.savez(folder.parent / "images.npz", np.zeros((2, 4, 5), np.uint8))
    altered(folder.parent / "images.npz", places, value)
    with pytest.raises(CalibrationError, match=reason):
        find(folder.parent / "images.npz")


def test_a_damaged_file_in_a_zip_is_named(folder: Path) -> None:
    archive = folder.parent / "images.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
        content.write(folder / "a/0.png", "0.png")
    damaged = bytearray(archive.read_bytes())
    damaged[60:90] = bytes(30)
    archive.write_bytes(damaged)
    with pytest.raises(CalibrationError, match=r"0\.png of .*images\.zip cannot"):
        decode(find(archive).files[0])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((10**6, 32, 32, 3), "as its header says; found 24 bytes"),
        ((10**9, 32, 32, 3), "expected at most 2000000 pictures"),
        ((2, 0, 32, 3), "pictures of 1 to"),
        ((2, 10**5, 10**5), "pictures of 1 to"),
    ],
)
def test_a_header_that_promises_more_than_there_is_is_refused(
    shape: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive, archive.open("images.npy", "w") as content:
        npy.write_array_header_1_0(content, {"descr": "|u1", "fortran_order": False, "shape": shape})  # type: ignore[no-untyped-call]
        content.write(bytes(24))
    with pytest.raises(CalibrationError, match=message):
        find(tmp_path / "set.npz")


def test_a_member_that_is_said_to_be_gigabytes_is_not_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("1.png", bytes(1000))
    data = bytearray(archive.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (3 << 30).to_bytes(4, "little")
    archive.write_bytes(data)
    with pytest.raises(CalibrationError, match=r"at most 512 MiB, 1\.png of .* is said to unpack to 3072 MiB"):
        decode(find(archive).files[0])


def test_damaged_lzma_and_a_header_without_an_end_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("1.png", bytes(range(256)) * 8)
    data = bytearray((tmp_path / "set.zip").read_bytes())
    data[50:90] = b"\xff" * 40
    (tmp_path / "set.zip").write_bytes(data)
    with pytest.raises(CalibrationError, match=r"1\.png of .*set\.zip cannot"):
        decode(find(tmp_path / "set.zip").files[0])
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00\x08\x00{'a': (\n" + bytes(8))
    with pytest.raises(CalibrationError, match="found none that can be read"):
        find(tmp_path / "set.npz")


def test_hidden_folders_and_other_files_of_a_zip_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in ("1.png", ".Trash-0/2.png", "__MACOSX/._1.png", "notes.txt"):
            archive.writestr(name, b"")
    assert find(tmp_path / "set.zip").names() == ("1.png",)
    assert any(".Trash-0, __MACOSX" in said for said in caplog.messages)
    assert any("notes.txt" in said for said in caplog.messages)
