"""Files that are no checkpoint, told by their first bytes or members; whatever may be one is let through."""

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from slide_export.checkpoint.other_files import FLATBUFFERS, MAGIC, what_it_is


def told(content: bytes, tmp_path: Path) -> str:
    path = tmp_path / "file"
    path.write_bytes(content)
    return what_it_is(path)


@pytest.mark.parametrize(("magic", "what"), MAGIC)
def test_each_beginning_is_told_in_any_case_and_after_blanks(magic: bytes, what: str, tmp_path: Path) -> None:
    assert told(magic + bytes(80), tmp_path) == what
    assert told(b"\n " + magic.swapcase() + bytes(80), tmp_path) == what
    assert told(b"\x80\x02" + magic, tmp_path) != what  # only at the beginning


@pytest.mark.parametrize(("name", "what"), FLATBUFFERS.items())
def test_flatbuffers_have_their_name_in_the_fifth_byte(name: bytes, what: str, tmp_path: Path) -> None:
    assert told(b"\x1c\0\0\0" + name + bytes(80), tmp_path) == what
    assert told(b"\x1c\0\0" + name + bytes(80), tmp_path) == ""


def test_an_empty_file_was_not_written(tmp_path: Path) -> None:
    assert told(b"", tmp_path).startswith("empty")


@pytest.mark.parametrize(
    ("start", "onnx"),
    [(b"\x08\x03\x12", True), (b"\x08\x20\x3a", True), (b"\x08\x02\x12", False), (b"\x08\x21\x12", False),
     (b"\x08\x0a\x13", False), (b"\x09\x0a\x12", False)],
)  # fmt: skip
def test_onnx_begins_with_a_version_and_another_field(start: bytes, onnx: bool, tmp_path: Path) -> None:
    assert ("ONNX" in told(start + bytes(40), tmp_path)) == onnx


@pytest.mark.parametrize(
    ("size", "cut"), [(9000, True), (2**40 - 1, True), (2**40, False)]
)  # a header of a tebibyte is none
def test_safetensors_that_torch_is_asked_for_were_cut_off(size: int, cut: bool, tmp_path: Path) -> None:
    found = told(size.to_bytes(8, "little") + b'{"head.weight":{', tmp_path)
    assert ("cut off" in found) == cut


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'{"a": 1}', "JSON, no weights: a PyTorch checkpoint is wanted"),
        (b"\xef\xbb\xbf [1]", "JSON, no weights: a PyTorch checkpoint is wanted"),
        (b"hello, world\n", "text, no checkpoint"),
        (b"hello, \x00world\n", ""),
        (pickle.dumps({"a": 1}, protocol=0), ""),
        (pickle.dumps([1.5, "x"], protocol=0), ""),
        (pickle.dumps({"a": 1}, protocol=2), ""),
        (b"\x80\x02}q\x00.", ""),
    ],
)
def test_text_is_told_from_a_pickle_that_is_text(content: bytes, what: str, tmp_path: Path) -> None:
    assert told(content, tmp_path) == what


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, b"")
    return path


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (("m/data.pkl", "m/data/0", "m/version"), ""),
        (("m/data.pkl", "m/constants.pkl"), "a TorchScript program"),
        (("m/data.pkl", "m/code/a.py"), "a TorchScript program"),
        (("m/archive_format", "m/data.pkl"), r"a program of torch.export"),
        (("m/models/model.json",), r"a program of torch.export"),
        (("serialized_exported_program.json",), r"a program of torch.export"),
        (("a.npy", "b.npy"), "NumPy arrays (npz)"),
        (("a.npy", "b.txt"), "a ZIP archive of a.npy, b.txt: unpack it"),
        (("a", "b", "c", "d"), "a ZIP archive of a, b, c, and 1 more: unpack it"),
    ],
)
def test_a_zip_is_told_by_its_members(names: tuple[str, ...], what: str, tmp_path: Path) -> None:
    found = what_it_is(archive(tmp_path / "file.zip", *names))
    assert found.startswith(what)
    assert bool(found) == bool(what)


def test_a_damaged_zip_is_left_to_torch(tmp_path: Path) -> None:
    whole = archive(tmp_path / "file.zip", "m/data.pkl").read_bytes()
    assert told(whole[: len(whole) // 2], tmp_path) == ""


def packed(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    return path


def test_a_tar_is_told_by_its_members(tmp_path: Path) -> None:
    oldest = what_it_is(packed(tmp_path / "old", "storages", "tensors", "pickle", "sys_info"))
    assert oldest.startswith("of PyTorch's oldest format")
    assert what_it_is(packed(tmp_path / "run", "pickle", "\x1b[2J")) == (
        "a tar archive of pickle, \\x1b[2J: unpack it, and export the checkpoint in it"
    )
    assert what_it_is(packed(tmp_path / "none")) == ""


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_what_torch_saves_may_be_a_checkpoint(options: dict[str, bool], tmp_path: Path) -> None:
    torch.save({"head.weight": torch.ones(2)}, tmp_path / "model.pth", **options)
    assert what_it_is(tmp_path / "model.pth") == ""
