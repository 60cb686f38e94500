"""A worker's jobs outlive their nursery, and a job that was stopped is told apart from one that crashed."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from slide_export.fleet import children as module
from slide_export.fleet.children import Children
from slide_export.workflows.child import JobEnd, Nursery

JOBS = "tests.exporter.workflows.jobs"


@pytest.fixture
def children() -> Iterator[Children]:
    made = Children((JOBS,))
    yield made
    made.close()


def _nursery(children: Children) -> int:
    assert children._nursery is not None
    assert children._nursery._process is not None
    return children._nursery._process.pid


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each job is a new interpreter")
def test_jobs_share_a_nursery_until_it_is_gone_and_then_have_another(children: Children) -> None:
    first = children.run("a", f"{JOBS}:answer", 1, 60)
    pid = _nursery(children)
    assert children.run("b", f"{JOBS}:answer", 2, 60).result["argument"] == 2
    assert _nursery(children) == pid
    os.kill(pid, signal.SIGKILL)  # as the kernel does where memory is short
    _ended(children)
    assert children.run("c", f"{JOBS}:answer", 3, 60).result["argument"] == 3
    assert _nursery(children) != pid
    assert first.result["argument"] == 1


def _ended(children: Children) -> None:
    assert children._nursery is not None
    until = time.monotonic() + 30
    while not children._nursery.gone and time.monotonic() < until:
        time.sleep(0.01)
    assert children._nursery.gone


def test_a_machine_that_starts_no_process_says_so_and_is_asked_again(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_nursery: Nursery) -> Nursery:
        raise BlockingIOError("Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(module.Nursery, "__enter__", refused)
        for _ in range(2):
            with pytest.raises(BlockingIOError):
                children.run("a", f"{JOBS}:answer", 1, 60)
    assert children.run("a", f"{JOBS}:answer", 1, 60).result["argument"] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a job ends when it is done")
def test_a_job_that_was_stopped_is_told_once_and_one_that_does_not_run_never(children: Children) -> None:
    ends: list[JobEnd] = []
    job = threading.Thread(target=lambda: ends.append(children.run("a", f"{JOBS}:hang", None, 60)))
    job.start()
    until = time.monotonic() + 30
    while "a" not in children._stopped and time.monotonic() < until:  # until it has begun
        children.stop(["a", "other"])
        time.sleep(0.01)
    job.join(30)
    assert not job.is_alive()
    assert ends[0].result is None
    assert [children.was_stopped("a") for _ in range(2)] == [True, False]
    assert not children.was_stopped("other")


def test_what_is_closed_starts_nothing_again(children: Children) -> None:
    children.run("a", f"{JOBS}:answer", 1, 60)
    before = children._nursery
    children.close()
    assert children.run("b", f"{JOBS}:answer", 1, 60).result is None or sys.platform != "linux"
    assert children._nursery is before


def test_nothing_was_stopped_before_anything_ran() -> None:
    idle = Children(())
    idle.stop(["a"])
    assert not idle.was_stopped("a")
    idle.close()
