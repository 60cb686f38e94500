"""What a plan names by content: each file read once, and again when it has changed; names as short as can be."""

import os
from pathlib import Path

import pytest

from slide_export.core.errors import RequestError
from slide_export.fleet import cas, sources
from slide_export.fleet.database import Database
from slide_export.fleet.sources import Digests, distinct, named, of_images, of_path, the_one


@pytest.fixture
def digests(tmp_path: Path) -> Digests:
    return Digests(Database.claimed(tmp_path / "fleet.db"))


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/a/best.pth", "runs/b/best.pth", "c.pth"], ["a-best", "b-best", "c"]),
        (["a.pth"], ["a"]),
        (["/x/best.pth", "/y/best.pth"], ["x-best", "y-best"]),
        (["x/a/best.pth", "y/a/best.pth"], ["x-a-best", "y-a-best"]),
        (["x/a-b.pth", "y/a/b.pth", "z/b.pth"], ["x-a-b", "y-a-b", "z-b"]),
        (["best.pth", "a/best.pth"], ["best", "a-best"]),
    ],
)
def test_names_are_as_short_as_tells_them_apart(paths: list[str], names: list[str]) -> None:
    assert distinct(paths) == names


def test_paths_that_no_depth_tells_apart_have_a_hash_behind_them() -> None:
    first, second, other = distinct(["a.pth", "a.pt", "b.pt"])
    assert first != second
    assert (first[:2], len(first), len(second), other) == ("a-", 10, 10, "b")


def test_a_path_or_a_glob_names_files_in_their_order(tmp_path: Path) -> None:
    for name in ("b.pth", "a.pth"):
        (tmp_path / name).touch()
    assert [path.name for path in named("*.pth", tmp_path)] == ["a.pth", "b.pth"]
    assert named(str(tmp_path / "a.pth"), Path("elsewhere")) == [tmp_path / "a.pth"]
    assert the_one("a.*", tmp_path) == tmp_path / "a.pth"
    with pytest.raises(RequestError, match=r"expected a checkpoint at .*none.pth, found none"):
        named("none.pth", tmp_path)
    with pytest.raises(RequestError, match=r"expected a checkpoint that matches .*\*.pt, found none"):
        named("*.pt", tmp_path)
    with pytest.raises(RequestError, match=r"expected images at one place, found 2 that match \*.pth"):
        the_one("*.pth", tmp_path)


def test_a_folder_is_its_files_names_and_contents(tmp_path: Path, digests: Digests) -> None:
    for folder, name, text in (("a", "x", "1"), ("b", "x", "1"), ("c", "y", "1"), ("d", "x", "2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    first, same, renamed, changed = (of_path(tmp_path / folder, digests) for folder in "abcd")
    assert first.sha256 == same.sha256
    assert len({first.sha256, renamed.sha256, changed.sha256}) == 3
    assert (first.name, first.files) == ("a", (tmp_path / "a" / "x",))


def test_a_file_is_read_once_until_it_changes(
    tmp_path: Path, digests: Digests, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.pth"
    file.write_text("1")
    first = of_path(file, digests)
    read: list[Path] = []
    whole = sources.sha256_of_file
    monkeypatch.setattr(sources, "sha256_of_file", lambda path: read.append(path) or whole(path))
    assert of_path(file, digests).sha256 == first.sha256
    assert read == []
    file.write_text("2")
    os.utime(file, ns=(1, 1))
    assert of_path(file, digests).sha256 != first.sha256
    assert read == [file]


def test_images_of_a_folder_are_its_pictures_alone_and_a_list_counts_too(tmp_path: Path, digests: Digests) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(b"1")
    (pictures / "notes.txt").write_text("more")
    folder = of_images(pictures, digests)
    assert folder.files == (pictures / "a.png",)
    listed = pictures / "list.csv"
    listed.write_text("file,label\na.png,0\n")
    first = of_images(listed, digests)
    assert (first.name, first.sha256 != folder.sha256) == ("list.csv", True)
    listed.write_text("file,label\na.png,1\n")
    assert of_images(listed, digests).sha256 != first.sha256  # other classes, of the same picture


def test_an_order_says_where_a_source_is(tmp_path: Path, digests: Digests) -> None:
    file, folder, store = tmp_path / "a.pth", tmp_path / "folder", cas.open(tmp_path / "store")
    file.write_text("1")
    folder.mkdir()
    (folder / "x").write_text("1")
    one, many = of_path(file, digests), of_path(folder, digests)
    status = file.stat()
    assert one.told(store, elsewhere=False) == {
        "name": "a.pth", "path": str(file), "seen": [status.st_size, status.st_mtime_ns]
    }  # fmt: skip
    assert many.told(store, elsewhere=False)["seen"] == []
    assert not store.has(one.sha256)
    assert one.told(store, elsewhere=True) == {"name": "a.pth", "sha256": one.sha256, "packed": False}
    assert store.has(one.sha256)
    packed = many.told(store, elsewhere=True)
    assert (packed["name"], packed["packed"], store.has(packed["sha256"])) == ("folder", True, True)


def test_a_checkpoint_elsewhere_is_fetched_once(tmp_path: Path, digests: Digests) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    (tmp_path / "a.pth").write_text("1")
    store, url = cas.open(tmp_path / "store"), f"file://{tmp_path}/a.pth"
    found = digests.of_url(url, store)
    assert (found.name, found.path, store.has(found.sha256)) == ("a.pth", None, True)
    assert digests.of_url(url, store) == found
    with pytest.raises(RequestError, match="it cannot be read"):
        digests.of_url(f"file://{tmp_path}/none.pth", store)
    with pytest.raises(RequestError, match="expected a URL that fsspec can read"):
        digests.of_url("nowhere://a.pth", store)
