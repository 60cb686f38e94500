"""A directory shows nothing that is half written, whatever its file system lacks and whoever is killed."""

import errno
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slide_export.core.errors import WriteError
from slide_export.fleet import cas, cas_directory
from slide_export.fleet.cas_directory import Directory

KEY = hashlib.sha256(b"key").hexdigest()
CONTENT = b"content"
WRITERS = 8


def _in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def test_a_file_is_written_read_and_removed_by_its_name(tmp_path: Path) -> None:
    medium, source = Directory(tmp_path / "store"), tmp_path / "source"
    source.write_bytes(CONTENT)
    assert (medium.read("cas/a"), medium.open("cas/a"), medium.size("cas/a"), medium.names("cas")) == (
        None,
        None,
        None,
        set(),
    )
    assert medium.add("cas/a", source) == hashlib.sha256(CONTENT).hexdigest()
    assert (medium.read("cas/a"), medium.size("cas/a"), medium.names("cas")) == (CONTENT, len(CONTENT), {"a"})
    assert source.exists()
    for _ in range(2):
        medium.remove("cas/a")
    assert medium.names("cas") == set()


def test_what_is_there_is_not_taken_again(tmp_path: Path) -> None:
    medium, source = Directory(tmp_path / "store"), tmp_path / "source"
    for _ in range(2):
        source.write_bytes(CONTENT)
        medium.take("cas/a", source)
    assert source.exists()  # the second, whose content was there
    assert medium.read("cas/a") == CONTENT


def test_what_an_answer_names_is_flushed_before_it_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    medium, source = Directory(tmp_path / "store"), tmp_path / "source"
    flushed: list[str] = []
    monkeypatch.setattr(cas_directory, "flush", lambda path: flushed.append(path.name))
    for _ in range(2):
        source.write_bytes(CONTENT)
        medium.take("cas/a", source)
    assert flushed == []
    assert medium.create("jobs/one", b"{}")
    assert sorted(flushed) == ["a", "content"]
    assert not medium.create("jobs/one", b"other")
    assert medium.create("jobs/two", b"{}")
    assert sorted(flushed) == ["a", "content", "content"]
    assert medium.read("jobs/one") == b"{}"


def test_a_store_is_made_and_one_that_is_a_file_is_refused(tmp_path: Path) -> None:
    Directory(tmp_path / "new" / "store").refuse_unwritable()
    assert (tmp_path / "new" / "store").is_dir()
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(WriteError, match="file"):
            Directory(place).refuse_unwritable()


def test_a_store_that_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cas_directory.os, "access", lambda _path, mode: not mode & os.W_OK)
    with pytest.raises(WriteError, match="expected an artifact store that can be written"):
        Directory(tmp_path).refuse_unwritable()


def test_a_file_is_taken_from_another_file_system(small_disk: Path, tmp_path: Path) -> None:
    source, content = tmp_path / "source", CONTENT
    source.write_bytes(content)
    store = cas.open(small_disk)
    store.take(source, hashlib.sha256(content).hexdigest())
    store.fetch(hashlib.sha256(content).hexdigest(), tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == content
    assert _in(small_disk / "tmp") == []


def test_a_directory_needs_no_fsspec(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['fsspec'] = sys.modules['s3fs'] = None\n"
        "from slide_export.fleet import cas\n"
        f"print(cas.open(sys.argv[1]).commit('{KEY}', {{}}))"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "({}, True)\n"


def test_a_file_system_without_links_has_one_winner_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(cas_directory.os, "link", refused)
    store = Directory(tmp_path)
    with ThreadPoolExecutor(WRITERS) as pool:
        made = list(pool.map(lambda writer: store.create("jobs/a", b"%d" % writer), range(WRITERS)))
    assert made.count(True) == 1
    assert store.read("jobs/a") == b"%d" % made.index(True)
    assert _in(tmp_path / "tmp") == ["lock"]


def test_a_link_whose_answer_was_lost_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    linked = os.link

    def repeated(source: Path, place: Path) -> None:
        """As NFS does: the link is made, the second call finds it."""
        linked(source, place)
        linked(source, place)

    monkeypatch.setattr(cas_directory, "_knows_links", lambda _: True)
    monkeypatch.setattr(cas_directory.os, "link", repeated)
    assert Directory(tmp_path).create("jobs/a", b"{}")


def test_what_a_killed_writer_left_is_no_answer_and_goes(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from slide_export.fleet import cas, cas_directory\n"
        "cas_directory.flush = lambda path: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"cas.open(sys.argv[1]).commit('{KEY}', {{'half': 1}})"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    store = cas.open(tmp_path)
    assert (store.answer(KEY), store.keys(), len(_in(tmp_path / "tmp"))) == (None, set(), 1)
    assert store.commit(KEY, {"whole": 1}) == ({"whole": 1}, True)
    assert _in(tmp_path / "tmp") == []
