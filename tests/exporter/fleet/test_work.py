"""One job on a worker: done once whoever else does it, handed back where it cannot be, and ended with all it began."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from slide_export.fleet import cas, work
from slide_export.fleet.children import Children
from slide_export.fleet.engine import InlineEngine
from slide_export.fleet.job import Answer
from slide_export.fleet.plan import Limits
from slide_export.fleet.workspace import Workspace
from tests.exporter.fleet.sweeps import attempts, job, order, rows, sweep
from tests.s3_server import BUCKET

TWICE = 4  # executions at once
GONE_S = 2.0


@pytest.fixture(params=["directory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "directory":
        return str(tmp_path / "store")
    request.getfixturevalue("server")
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Children that import nothing beforehand: a simulated job needs no torch."""
    monkeypatch.setenv("SLIDE_EXPORT_FLEET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(work, "children", Children(preload=()))
    yield
    work.close()


def test_the_same_job_at_once_is_committed_once(url: str) -> None:
    asked = order(job("a", seconds=0.2), url)
    with ThreadPoolExecutor(TWICE) as pool:
        told = [Answer.of(json.loads(answer)) for answer in pool.map(work.run, [asked] * TWICE)]
    assert sum(answer.ours for answer in told) == 1
    assert {(answer.outcome, str(answer.result)) for answer in told} == {("done", str(told[0].result))}
    assert len(cas.open(url).keys()) == 1
    assert not json.loads(work.run(asked))["ours"]


def test_a_second_execution_that_differs_is_a_finding(url: str) -> None:
    asked = json.loads(order(job("a"), url))
    with Workspace(asked) as first, Workspace(asked) as second:
        assert first.commit(Answer("done", result={"n": 1}), deterministic=True).ours
        told = second.commit(Answer("done", result={"n": 2}), deterministic=True)
    assert (told.result, told.ours, told.differs) == ({"n": 1}, False, ("result",))


def test_other_versions_are_handed_back(tmp_path: Path) -> None:
    planned = job("a", environment={"torch": "0.0"})
    end = sweep(tmp_path / "fleet.db", [planned, job("b")], InlineEngine(), str(tmp_path / "store"))
    assert (end.states, end.exit_code) == ({"blocked": 1, "done": 1}, 3)
    assert attempts(tmp_path / "fleet.db") == {"a": ["mismatch"], "b": ["done"]}
    assert rows(tmp_path / "fleet.db")["a"][0] == "blocked"
    told = json.loads(work.run(order(planned, str(tmp_path / "store"))))
    assert told["message"].startswith("expected torch 0.0 as it was planned, found ")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")
@pytest.mark.usefixtures("bare")
def test_a_job_over_its_memory_is_given_up_after_two_tries(tmp_path: Path) -> None:
    greedy = job("greedy", act="eat", child=True)
    url, path = str(tmp_path / "store"), tmp_path / "fleet.db"
    end = sweep(path, [greedy, job("b")], InlineEngine(), url, memory_gib=0.01)
    assert (end.states, end.exit_code) == ({"poison": 1, "done": 1}, 70)
    assert attempts(path)["greedy"] == ["crashed"] * 2
    told = json.loads(work.run(order(greedy, url, memory_gib=0.01)))
    assert told["message"].startswith("it needs more memory than the 0.01 GiB it has: say more in the plan's needs")


@pytest.mark.usefixtures("bare")
def test_a_job_that_hangs_is_ended_with_what_it_began(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "fleet.db"
    hanging = job("hangs", act="hang beside", mark=str(mark), child=True)
    began = time.monotonic()
    end = sweep(path, [hanging], InlineEngine(), str(tmp_path / "store"), Limits(timeout_s=1))
    assert (end.states, end.exit_code) == ({"failed": 1}, 75)
    assert attempts(path) == {"hangs": ["timeout"]}
    assert time.monotonic() - began < 30
    assert _gone(int(mark.read_text()))


def _gone(pid: int) -> bool:
    """Whether a process ends in time; one that nobody has waited for yet has ended."""
    deadline = time.monotonic() + GONE_S
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    os.kill(pid, 9)
    return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="jobs are forked on Linux alone")
def test_what_is_imported_before_a_fork_starts_no_thread() -> None:
    """A thread does not survive a fork, and a lock that it holds stays taken."""
    program = (
        "import contextlib, importlib, os, slide_export\n"
        "from slide_export.backends import optional, registry\n"
        "from slide_export.fleet.children import PRELOAD\n"
        "slow = [name for target in registry.names() for name in optional.slow_imports(registry.load(target))]\n"
        "for name in (*PRELOAD, *slow):\n"
        "    with contextlib.suppress(ImportError):\n"
        "        importlib.import_module(name)\n"
        "print(len(os.listdir('/proc/self/task')))"
    )
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=alone)
    assert done.stdout.splitlines()[-1] == "1"
