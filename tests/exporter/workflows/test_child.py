"""A job's crash, hang or exception is its own, and it starts from what the nursery has imported."""

import os
import re
import sys

import pytest

from slide_export.core.errors import CRASHED
from slide_export.workflows.child import Nursery

JOBS = "tests.exporter.workflows.jobs"
NOISY = "tests.exporter.workflows.noisy"


def test_a_job_answers_in_a_process_of_its_own() -> None:
    with Nursery((JOBS,)) as nursery:
        first, second = (nursery.run(f"{JOBS}:answer", {"n": index}, 60) for index in range(2))
    assert first.result["argument"] == {"n": 0}
    assert first.result["leads"]  # a process group of its own, so that what it starts ends with it
    assert len({first.result["pid"], second.result["pid"], os.getpid()}) == 3


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("crash", r"its process crashed \(signal 11\): fatal words"),
        ("fail", r"its process crashed \(exit code 1\): ValueError: not this"),
    ],
)
def test_a_job_that_dies_is_told_by_its_last_words_and_touches_no_other(job: str, message: str) -> None:
    with Nursery((JOBS,)) as nursery:
        end = nursery.run(f"{JOBS}:{job}", None, 60)
        after = nursery.run(f"{JOBS}:answer", 1, 60)
    assert end.result is None
    assert re.fullmatch(message, end.message)
    assert after.result["argument"] == 1


def test_a_job_finds_what_it_named_imported_and_one_that_names_nonsense_runs_too() -> None:
    with Nursery() as nursery:
        before = nursery.run(f"{JOBS}:knows", NOISY, 60)
        named = [nursery.run(f"{JOBS}:knows", NOISY, 60, imports=("none.such", NOISY)) for _ in range(2)]
        assert nursery.run(f"{JOBS}:knows", NOISY, 60).result["known"]  # which stays
    assert not before.result["known"]
    assert [end.result["known"] for end in named] == [True, True]
    assert {end.result["threads"] for end in named} == {1}


def test_a_job_that_hangs_is_stopped() -> None:
    with Nursery((JOBS,)) as nursery:
        end = nursery.run(f"{JOBS}:hang", None, 0.5)
        assert end.message.startswith("expected an end within 0.5 s")
        assert end.seconds < 30
        assert nursery.run(f"{JOBS}:answer", 1, 60).result["argument"] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each job is a new interpreter")
def test_jobs_of_a_nursery_that_was_killed_crash_and_it_closes_all_the_same() -> None:
    with Nursery((JOBS,)) as nursery:
        nursery.run(f"{JOBS}:answer", 1, 60)
        assert not nursery.gone
        process = nursery._process
        assert process is not None
        process.kill()
        process.wait()
        assert nursery.gone
        ends = [nursery.run(f"{JOBS}:answer", 1, 60) for _ in range(2)]
    assert [end.exit_code for end in ends] == [CRASHED, CRASHED]


def test_nothing_is_left_when_the_nursery_closes() -> None:
    with Nursery((JOBS,)) as nursery:
        pid = nursery.run(f"{JOBS}:answer", 1, 60).result["pid"]
        process = nursery._process
    assert process is not None
    assert process.poll() is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
