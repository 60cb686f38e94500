"""Pictures below a directory: by ending, through links, without what tools leave; what is left out is said."""

import logging
from pathlib import Path

import pytest

from slide_export.calibration import folders
from slide_export.calibration.folders import NAMED, NO_CLASS, SUFFIXES, LeftOut, is_left_out, is_picture, pictures_below
from slide_export.core.errors import CalibrationError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in pictures_below(root)[0]]


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_the_ending_of_a_picture_in_any_case(suffix: str) -> None:
    assert is_picture(f"1{suffix}")
    assert is_picture(f"1{suffix.upper()}")
    assert not is_picture(f"._1{suffix}")  # AppleDouble
    assert not is_picture(f"1{suffix}.txt")
    assert not is_picture(suffix)  # a hidden file without an ending
    assert not is_picture(f"1{suffix}", (".other",))


def test_pictures_are_sorted_and_the_rest_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "dog/2.png", "cat/1.JPG", "cat/notes.txt", "cat/a/3.webp", ".cache/4.png", "__MACOSX/5.png")
    paths, left = pictures_below(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in paths] == ["cat/1.JPG", "cat/a/3.webp", "dog/2.png"]
    assert sorted(left.folders) == [".cache", "__MACOSX"]
    assert left.files == ["cat/notes.txt"]


@pytest.mark.parametrize("name", [*sorted(NO_CLASS), ".git", ".ipynb_checkpoints"])
def test_directories_of_tools_hold_no_class(name: str, tmp_path: Path) -> None:
    assert is_left_out(name)
    assert not is_left_out(f"x{name}")
    touch(tmp_path, f"a/{name}/1.png", f"a/x{name}/2.png")
    assert found(tmp_path) == [f"a/x{name}/2.png"]


def test_links_to_directories_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.png")
    root = tmp_path / "set"
    touch(root, "cat/2.png")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cat" / "again").symlink_to(root)
    (root / "self").symlink_to(root / "cat")  # beside it, not above it: its pictures are there twice
    assert found(root) == ["cat/2.png", "dog/1.png", "self/2.png"]


def test_a_link_to_nothing_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "1.png").symlink_to(tmp_path / "gone.png")
    touch(tmp_path, "2.png")
    assert found(tmp_path) == ["2.png"]


def test_directories_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, *(f"{n}/1.png" for n in range(4)))
    monkeypatch.setattr(folders, "MOST_DIRECTORIES", 5)  # the root and four
    assert len(found(tmp_path)) == 4
    monkeypatch.setattr(folders, "MOST_DIRECTORIES", 4)
    with pytest.raises(CalibrationError, match="expected at most 4 directories of images"):
        found(tmp_path)


def test_so_many_directories_are_walked() -> None:
    assert folders.MOST_DIRECTORIES == 200_000  # ImageNet-21k has 21,842


@pytest.mark.parametrize(("count", "more"), [(NAMED, ""), (NAMED + 1, ", ...")])
def test_what_is_left_out_is_said_with_the_first_names(count: int, more: str, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"n{number}" for number in range(count)]
    with caplog.at_level(logging.WARNING):
        LeftOut(files=names).say("root\x1b")
    (record,) = caplog.records
    assert record.getMessage() == f"left out {count} other files in root\\x1b: n0, n1, n2, n3, n4{more}"
    caplog.clear()
    LeftOut().say("root")
    assert caplog.records == []
