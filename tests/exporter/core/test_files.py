"""A file is written whole or not at all, and a place where none can be is refused beforehand."""

from pathlib import Path

import pytest

from slide_export.core import files as whole_file
from slide_export.core.errors import RequestError


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
