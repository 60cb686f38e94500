"""A file is written whole or not at all, and a place where none can be is refused beforehand."""

import errno
import os
from pathlib import Path

import pytest

from slide_export.core import files as whole_file
from slide_export.core.errors import RequestError, WriteError


def test_a_file_is_replaced_whole_and_its_directory_made(tmp_path: Path) -> None:
    place = tmp_path / "new" / "f.txt"
    whole_file.write(place, "long before\n")
    whole_file.write(place, "after\n")
    assert place.read_text() == "after\n"
    assert [path.name for path in place.parent.iterdir()] == ["f.txt"]


def test_nothing_is_left_of_what_cannot_be_written(tmp_path: Path) -> None:
    whole_file.write(tmp_path / "f.txt", "before")
    with pytest.raises(UnicodeEncodeError):
        whole_file.write(tmp_path / "f.txt", "half\ud800")
    assert (tmp_path / "f.txt").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_appended_stands_after_a_blank_line(tmp_path: Path) -> None:
    for part in ("one\n", "two\n"):
        whole_file.append(tmp_path / "f.md", part)
    assert (tmp_path / "f.md").read_text() == "one\n\ntwo\n"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    whole_file.write(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "text"


@pytest.mark.parametrize("place", ["directory", "file/inside", "/dev/null"])
def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="expected a place for a file"):
        whole_file.refuse_unwritable(tmp_path / place)
    whole_file.refuse_unwritable(tmp_path / "new" / "file")


def test_a_file_has_the_mode_of_the_mask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        whole_file.write(tmp_path / "new" / "f.txt", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "new" / "f.txt").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_fails_is_told_from_a_name_that_cannot_be(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_file.write(tmp_path / "f.txt", "before")

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(whole_file, "flush", fail)
    with pytest.raises(WriteError, match=f"expected to write {tmp_path / 'f.txt'}, the system says: "):
        whole_file.write(tmp_path / "f.txt", "after")
    assert (tmp_path / "f.txt").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(RequestError, match="nothing was kept"):
        whole_file.write(tmp_path / "f.txt" / "below", "after")


def test_temporary_files_that_find_no_room_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a write says no name: the place is the one that is full."""
    monkeypatch.setattr(whole_file.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    full = OSError(errno.ENOSPC, "No space left on device")
    assert "temporary files in" in str(whole_file.write_refusal(full, None))
    assert "temporary files" not in str(whole_file.write_refusal(full, tmp_path / "out"))
    named = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "tmp" / "x"))
    assert f"temporary files in {tmp_path / 'tmp'}" in str(whole_file.write_refusal(named, tmp_path / "out"))
    monkeypatch.setattr(whole_file, "_is_full", lambda place: place.name == "tmp")
    assert f"temporary files in {tmp_path / 'tmp'}" in str(whole_file.write_refusal(full, tmp_path / "out"))
    assert whole_file.write_refusal(ValueError("no disk"), tmp_path) is None


def test_a_name_that_is_no_utf8_is_refused() -> None:
    whole_file.refuse_not_utf8(Path("bild ü 😀.pth"), "a checkpoint")
    with pytest.raises(RequestError, match=r"expected a checkpoint whose name is UTF-8, found 'bild.{1,2}udcfc"):
        whole_file.refuse_not_utf8(Path("bild\udcfc.pth"), "a checkpoint")


def test_a_file_that_a_library_could_not_open_is_a_place_only_where_nothing_is_read(tmp_path: Path) -> None:
    error = RuntimeError(f"it says: Can't open bin file: {tmp_path}/model.bin")
    assert whole_file.write_refusal(error, tmp_path) is None
    told = whole_file.write_refusal(error, tmp_path, writes_alone=True)
    assert told == f"expected to write {tmp_path}, it cannot be written: Can't open bin file"


@pytest.mark.parametrize(
    ("said", "unwritten"),
    [
        ("Failed to create file writer", True),
        ("cannot create the directory for the weights", True),
        ("A valid manifest does not exist at path: model.mlpackage/Manifest.json", True),
        ("failed to create XNNPACK runtimeNode number 192", False),
        ("unable to create a session", False),
    ],
)
def test_what_a_runtime_cannot_create_is_no_place(said: str, unwritten: bool, tmp_path: Path) -> None:
    refusal = whole_file.write_refusal(RuntimeError(said), tmp_path, writes_alone=True)
    assert (refusal is not None) == unwritten


def test_a_lack_of_memory_is_told_by_whatever_an_error_came_of() -> None:
    outer = ValueError("expected inputs that the artifact takes")
    assert not whole_file.lacked_memory(outer)
    outer.__cause__ = RuntimeError("Failed to allocate 14450688 bytes of memory")
    assert whole_file.lacked_memory(outer)
    assert whole_file.lacked_memory(MemoryError())
    assert not whole_file.lacked_memory(RuntimeError("failed to create XNNPACK runtime"))
