"""A script's answer, its refusal in its own words, and what is said of one that ends otherwise."""

import sys
from pathlib import Path

import pytest

from slide_export.backends.script import run
from slide_export.core.errors import LoweringError

PYTHON = Path(sys.executable)


def script(folder: Path, *lines: str) -> Path:
    start = ("import json, os, sys", "from pathlib import Path", "asked, answer = map(Path, sys.argv[1:])")
    (folder / "script.py").write_text("\n".join((*start, *lines)))
    return folder / "script.py"


def test_a_job_goes_in_and_an_answer_comes_out(tmp_path: Path) -> None:
    made = script(
        tmp_path, "job = json.loads(asked.read_text())", "answer.write_text(json.dumps({'twice': 2 * job['n']}))"
    )
    assert run(PYTHON, made, {"n": 3}) == {"twice": 6}


def test_a_script_has_a_home_of_its_own_and_the_variables_that_it_is_given(tmp_path: Path) -> None:
    made = script(tmp_path, "answer.write_text(json.dumps([os.environ['HOME'], os.environ['X'], os.getcwd()]))")
    home, given, place = run(PYTHON, made, {}, {"X": "1"})
    assert (given, place) == ("1", home)
    assert not Path(home).exists()  # it is gone with the script


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["print('noise', file=sys.stderr)", "sys.exit('refused: it cannot do that')"], "^it cannot do that$"),
        (["sys.exit('a word')"], "it ended with exit code 1: a word"),
        (["sys.exit(3)"], "it ended with exit code 3: nothing said"),
        (["pass"], "it ended with exit code 0: nothing said"),
        (["os.kill(os.getpid(), 9)"], "it ended with signal 9: nothing said"),
        (["raise ValueError('bad')"], "exit code 1: ValueError: bad"),
    ],
)
def test_a_script_without_an_answer_says_why(lines: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(LoweringError, match=said):
        run(PYTHON, script(tmp_path, *lines), {})


def test_an_answer_of_a_script_that_failed_afterwards_is_none(tmp_path: Path) -> None:
    with pytest.raises(LoweringError, match="exit code 2"):
        run(PYTHON, script(tmp_path, "answer.write_text('1')", "sys.exit(2)"), {})
