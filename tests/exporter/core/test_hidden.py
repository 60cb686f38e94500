"""What is being written is hidden and locked; what a killed run left is put back or removed by the next."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from slide_export.core import hidden

KILLED = (
    "import os, signal, sys; from pathlib import Path; from slide_export.core import hidden\n"
    "with hidden.directory(Path(sys.argv[1])) as scratch:\n"
    "    (scratch / 'half').touch()\n"
    "    os.kill(os.getpid(), signal.SIGKILL)"
)


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    with hidden.directory(tmp_path) as scratch:
        assert list(tmp_path.iterdir()) == [scratch]
        assert scratch != left
    assert list(tmp_path.iterdir()) == []


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    with hidden.directory(tmp_path) as first, hidden.directory(tmp_path) as second:
        hidden.sweep(tmp_path)
        assert {first, second} == set(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []


def test_what_was_moved_aside_is_put_back_unless_something_stands_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("lost", "replaced"):
        place = tmp_path / f".slide-export-{name.encode().hex():0>16}" / hidden.ASIDE
        place.mkdir(parents=True)
        (place / name).write_text("older")
    (tmp_path / "replaced").write_text("newer")
    with caplog.at_level(logging.WARNING):
        hidden.sweep(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"lost": "older", "replaced": "newer"}
    assert caplog.messages == [f"{tmp_path / 'lost'} was moved aside by a run that did not end, and is back"]


@pytest.mark.parametrize("name", [".slide-export-thesis", ".slide-export-0123456789abcdef.txt", "slide-export"])
def test_what_is_named_otherwise_stays(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    hidden.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_link_of_such_a_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / ".slide-export-0123456789abcdef").symlink_to("thesis")
    hidden.sweep(tmp_path)
    assert (tmp_path / "thesis").is_dir()
