"""An archive has the same bytes whoever packs it, and reaches nowhere outside."""

import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from slide_export.core.errors import BundleError
from slide_export.fleet.archive import FILE_MODE, pack, unpack


def made(folder: Path, *, seconds: int, mode: int) -> Path:
    (folder / "deep").mkdir(parents=True)
    for name, text in (("b.txt", "two"), ("a.txt", "one"), ("deep/é.txt", "three")):
        (folder / name).write_text(text)
        (folder / name).chmod(mode)
        os.utime(folder / name, (seconds, seconds))
    return folder


def test_times_and_permissions_change_no_byte(tmp_path: Path) -> None:
    first = pack(made(tmp_path / "a", seconds=1, mode=0o600), tmp_path / "a.tar")
    second = pack(made(tmp_path / "b", seconds=2_000_000_000, mode=0o755), tmp_path / "b.tar")
    assert first == second == hashlib.sha256((tmp_path / "a.tar").read_bytes()).hexdigest()


def test_what_is_unpacked_is_what_was_packed(tmp_path: Path) -> None:
    pack(made(tmp_path / "a", seconds=1, mode=0o600), tmp_path / "a.tar")
    unpack(tmp_path / "a.tar", tmp_path / "out")
    found = {
        file.relative_to(tmp_path / "out").as_posix(): file.read_text() for file in (tmp_path / "out").rglob("*.txt")
    }
    assert found == {"a.txt": "one", "b.txt": "two", "deep/é.txt": "three"}
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert archive.getnames() == ["a.txt", "b.txt", "deep/é.txt"]
        assert {entry.mode for entry in archive} == {FILE_MODE}


def hostile(path: Path, name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Path:
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, link
        archive.addfile(entry)
    return path


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [("../out.txt", tarfile.REGTYPE, ""), ("link", tarfile.SYMTYPE, "../../x"), ("pipe", tarfile.FIFOTYPE, "")],
)
def test_what_reaches_outside_or_is_no_file_is_refused(name: str, kind: bytes, link: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be unpacked"):
        unpack(hostile(tmp_path / "a.tar", name, kind, link), tmp_path / "in" / "deep")
    assert not (tmp_path / "in" / "out.txt").exists()


@pytest.mark.parametrize("content", [b"no archive", b"\x1f\x8b" + bytes(20)])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(BundleError, match=r"a\.tar cannot be unpacked"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
