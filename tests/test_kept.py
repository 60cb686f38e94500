"""What is kept is made once by whoever asks first, and again where making it failed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kept import kept, of_session

ROOT = Path(__file__).parents[1]
MAKES = """
import sys, time
from pathlib import Path
from tests.kept import kept
class Factory:
    def getbasetemp(self):
        return Path(sys.argv[1]) / sys.argv[2]
def make(place):
    time.sleep(0.2)
    with (Path(sys.argv[1]) / "made").open("a") as file:
        file.write("x")
    (place / "whole").touch()
assert (kept(Factory(), "name", make) / "whole").exists()
"""


def test_two_workers_make_it_once(tmp_path: Path) -> None:
    workers = []
    for worker in ("gw0", "gw1"):
        (tmp_path / worker).mkdir()
        environment = {**os.environ, "PYTEST_XDIST_WORKER": worker}
        line = [sys.executable, "-c", MAKES, str(tmp_path), worker]
        workers.append(subprocess.Popen(line, cwd=ROOT, env=environment))
    assert [one.wait() for one in workers] == [0, 0]
    assert (tmp_path / "made").read_text() == "x"


def test_what_failed_is_made_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    def fail(place: Path) -> None:
        (place / "half").touch()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        kept(tmp_path_factory, "failing", fail)
    made = kept(tmp_path_factory, "failing", lambda place: (place / "a").touch())
    assert made == of_session(tmp_path_factory, "failing")
    assert [file.name for file in kept(tmp_path_factory, "failing", fail).iterdir()] == ["a"]
