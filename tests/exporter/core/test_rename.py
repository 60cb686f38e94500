"""Two paths change places in one step, and nothing is replaced that stands."""

import errno
from pathlib import Path

import pytest

from slide_export.core import rename


def test_two_directories_change_places(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not rename.exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("the file system of temporary files cannot exchange")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["a"]


@pytest.mark.parametrize("system", ["this one", "without the call"])
def test_an_empty_directory_in_the_way_is_not_replaced(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if system != "this one":
        monkeypatch.setattr(rename, "_rename", lambda *_: False)
    for name in "ab":
        (tmp_path / name).mkdir()
    with pytest.raises(FileExistsError):
        rename.to_free_place(tmp_path / "a", tmp_path / "b")
    rename.to_free_place(tmp_path / "a", tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]


def test_what_is_not_there_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as told:
        rename.exchange(tmp_path / "a", tmp_path / "b")
    assert told.value.errno == errno.ENOENT
