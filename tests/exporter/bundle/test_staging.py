"""A bundle comes to its place whole, in one step, or not at all; what stood there is never lost."""

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slide_export.bundle import staging as stage
from slide_export.bundle import store
from slide_export.bundle.staging import REJECTED, refuse_unusable, staging
from slide_export.core import rename
from slide_export.core.errors import BundleError, ParityError, RequestError, SlideExportError, WriteError
from tests.exporter.bundle.test_store import make


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture(params=["exchange", "two renames"])
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "exchange":
        monkeypatch.setattr(rename, "exchange", lambda *_: False)


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="crash"), staging(tmp_path / "b", overwrite=False) as directory:
        (directory / "model.onnx").write_bytes(b"half")
        raise RuntimeError("crash")
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), RuntimeError("basic_ios::clear: iostream error")])
def test_a_disk_that_fails_is_one_sentence_with_the_place_and_leaves_the_older_bundle(
    error: Exception, tmp_path: Path
) -> None:
    make(tmp_path / "b")
    with pytest.raises(WriteError) as told, staging(tmp_path / "b", overwrite=True):
        raise error
    assert str(told.value).startswith(f"expected to write {tmp_path / 'b'}, ")
    assert str(told.value).endswith("no part of the new bundle was kept; the bundle that stands there is whole")
    assert told.value.exit_code == 74
    assert names(tmp_path) == ["b"]
    assert store.read(tmp_path / "b").manifest.name == "n"


def test_an_error_of_another_kind_stays_itself(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="iostreams"), staging(tmp_path / "b", overwrite=True):
        raise ValueError("iostreams")


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BundleError, match="choose another out"), staging(tmp_path / "file" / "b", overwrite=False):
        pass


@pytest.mark.usefixtures("_either_way")
def test_a_bundle_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    make(tmp_path / "b")
    make(tmp_path / "b", overwrite=True, content=b"new")
    assert (tmp_path / "b" / "model.onnx").read_bytes() == b"new"
    assert names(tmp_path) == ["b"]


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
def test_what_fails_in_putting_it_there_leaves_the_older_one(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    make(tmp_path / "b")
    monkeypatch.setattr(rename, "to_free_place", fail)
    if rename.exchange.__name__ == "exchange":
        monkeypatch.setattr(rename, "exchange", fail)
    with pytest.raises((WriteError, KeyboardInterrupt)):
        make(tmp_path / "b", overwrite=True, content=b"new")
    assert (tmp_path / "b" / "model.onnx").read_bytes() == b"weights"
    assert names(tmp_path) == ["b"]


def test_an_export_that_is_killed_between_two_renames_is_mended_by_the_next(tmp_path: Path) -> None:
    make(tmp_path / "b")
    script = (
        "import os, signal, sys; from pathlib import Path; from slide_export.core import rename\n"
        "from slide_export.bundle.staging import staging\n"
        "rename.exchange = lambda *_: False\n"
        "rename.to_free_place = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "with staging(Path(sys.argv[1]), overwrite=True) as new: (new / 'manifest.json').write_text('{}')"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "b")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "b").exists()
    make(tmp_path / "other")
    assert names(tmp_path) == ["b", "other"]
    assert store.read(tmp_path / "b").manifest.name == "n"


def test_a_reader_finds_one_bundle_whole_while_another_replaces_it(tmp_path: Path) -> None:
    """Each of 100 reads, during which the bundle is replaced once, is of a whole one, the older or the newer."""
    make(tmp_path / "b")
    with ThreadPoolExecutor(1) as other:
        for index in range(100):
            replaced = other.submit(make, tmp_path / "b", overwrite=True, content=b"%d" % index)
            store.read(tmp_path / "b")
            replaced.result()
    assert names(tmp_path) == ["b"]


def test_a_directory_called_like_a_rejected_bundle_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "b.rejected").mkdir()
    (tmp_path / "b.rejected" / "thesis.tex").write_text("years of work")
    for content in (b"first", b"second"):
        with pytest.raises(ParityError), staging(tmp_path / "b", overwrite=False) as directory:
            make(directory / "made", content=content)
            for file in (directory / "made").iterdir():
                file.rename(directory / file.name)
            (directory / "made").rmdir()
            raise ParityError("not equal")
    assert names(tmp_path) == ["b.rejected", "b.rejected.1"]
    assert (tmp_path / "b.rejected" / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / "b.rejected.1" / "model.onnx").read_bytes() == b"second"


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_modes_follow_the_mask(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        with staging(tmp_path / "b", overwrite=False) as directory:
            (directory / "weights").mkdir(0o700)
            (directory / "weights" / "weight.bin").touch(0o600)
            (directory / "model").touch(0o777)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    folder, file = 0o777 & ~mask, 0o666 & ~mask
    assert modes == {"b": folder, "weights": folder, "weight.bin": file, "model": file}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../esc", "a path goes to out"),
        ("/abs", "a path goes to out"),
        ("a/b", "a path goes to out"),
        ("..", "a path goes to out"),
        ("", "a path goes to out"),
        ("nul\0", "a path goes to out"),
        ("x" * 300, "a name of at most 233 bytes for the bundle, found 300: give a shorter name"),
        ("ü" * 120, "found 240"),
        ("bild\udcfc", r"a place for the bundle whose name is UTF-8, found '.*bild\\udcfc"),
    ],
)
def test_a_name_is_a_name_or_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=message):
        refuse_unusable(tmp_path / f"{name}-onnx-fp32", name)


def test_the_longest_name_works_rejected_too(tmp_path: Path) -> None:
    longest = "x" * (255 - len(f"{REJECTED}.99"))
    refuse_unusable(tmp_path / longest, longest)
    make(tmp_path / longest)
    with pytest.raises(ParityError), staging(tmp_path / longest, overwrite=True):
        raise ParityError("not equal")
    assert names(tmp_path) == [longest, longest + REJECTED]


def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "b", tmp_path / ("o" * 300) / "b"):
        with pytest.raises(BundleError, match="choose another out"):
            refuse_unusable(place, "b")
    monkeypatch.setattr(stage.os, "access", lambda *_: False)
    with pytest.raises(WriteError, match="nothing can be written in"):
        refuse_unusable(tmp_path / "new" / "b", "b")


def test_a_link_to_nowhere_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "b").symlink_to("nowhere")
    with pytest.raises(SlideExportError, match="add overwrite or another out"):
        stage.refuse_existing(tmp_path / "b", overwrite=False)
    with pytest.raises(SlideExportError, match=r"not slide-export's"):
        stage.refuse_existing(tmp_path / "b", overwrite=True)
