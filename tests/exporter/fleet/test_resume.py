"""A fault in the midst of a sweep, and the same command again: nothing is lost, and nothing done twice."""

import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from slide_export.fleet import cas, resume, verdict
from slide_export.fleet.database import Database
from slide_export.fleet.engine import InlineEngine
from slide_export.fleet.job import Answer, Job
from slide_export.fleet.workspace import SPARED
from tests.exporter.fleet.sweeps import attempts, job, rows, sweep
from tests.s3_server import BUCKET, S3Server


def jobs(count: int, **options: object) -> list[Job]:
    """Some of them are refused."""
    return [job(f"job {number}", refused=0.1, **options) for number in range(count)]


def calm(tmp_path: Path, of: list[Job]) -> dict[str, tuple[str, object]]:
    """The rows of a sweep that nothing disturbs."""
    sweep(tmp_path / "calm.db", of, InlineEngine())
    return rows(tmp_path / "calm.db")


def once(path: Path) -> bool:
    """Whether no job was done twice."""
    return all(Counter(outcomes)["done"] + Counter(outcomes)["refused"] <= 1 for outcomes in attempts(path).values())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries at a store that fails."""
    monkeypatch.setattr(verdict, "STORE_WAITS_S", (0.05, 0.05, 0.05))


@pytest.mark.usefixtures("impatient")
def test_a_full_store_pauses_the_sweep(small_disk: Path, tmp_path: Path) -> None:
    path, made = tmp_path / "fleet.db", jobs(400)
    end = sweep(path, made, InlineEngine(1), str(small_disk))
    assert end.exit_code == 74
    assert "No space left on device" in end.message
    assert end.states["planned"] > 0
    assert end.states["failed"] == 0
    given_up = [outcomes for outcomes in attempts(path).values() if "failed" in outcomes]
    assert max(map(len, given_up)) == 4  # three more tries of the first, then no other job begins
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    end = sweep(path, made, InlineEngine(), str(small_disk))
    assert rows(path) == calm(tmp_path, made)
    assert once(path)


def test_what_was_removed_from_the_store_is_made_again_with_what_it_needs(tmp_path: Path) -> None:
    """Of a chain of which all is done but the end: content without which the end cannot be made."""
    path, url = tmp_path / "fleet.db", str(tmp_path / "store")
    first = job("first")
    second, beside = job("second", first), job("beside", first)
    third = job("third", second)
    made = [first, second, beside, third]
    store, contents = cas.open(url), {}
    for one in made[:3]:
        content = tmp_path / "content"
        content.write_text(one.key)
        contents[one.subject] = store.put(content)
        told = Answer("done", output=contents[one.subject], kind="made", bytes=64).plain()
        store.commit(one.key, {name: value for name, value in told.items() if name not in SPARED})
    for name in ("first", "second"):
        store.remove(contents[name])
    sweep(path, made, InlineEngine(), url)
    assert {name: outcomes for name, outcomes in attempts(path).items() if outcomes} == {
        "first": ["done"], "second": ["done"], "third": ["done"],
    }  # fmt: skip


@pytest.mark.usefixtures("impatient")
@pytest.mark.slow
def test_an_outage_of_s3_pauses_the_sweep(server: S3Server, tmp_path: Path) -> None:
    path, made, url = tmp_path / "fleet.db", jobs(40), f"s3://{BUCKET}/{tmp_path.name}"
    settled: list[str] = []

    def told(state: str, _key: str, _message: str) -> None:
        """Have the service go away in the midst."""
        settled.append(state)
        if len(settled) == 10:
            server.stop()

    end = sweep(path, made, InlineEngine(1), url, told=told)
    server.start()  # moto forgets what it had, as a bucket that was lost: what is done is made anew
    assert end.exit_code == 74
    assert "the artifact store failed" in end.message
    assert end.states["planned"] == 30
    end = sweep(path, made, InlineEngine(), url)
    assert rows(path) == calm(tmp_path, made)
    refused = settled.count("refused")  # before: the database keeps that, and the store has no answer of it now
    assert len(cas.open(url).keys()) == 40 - refused
    other = tmp_path / "other.db"
    sweep(other, made, InlineEngine(), url)  # another client does the rest
    assert (rows(other), len(attempts(other))) == (rows(path), refused)


def test_a_database_that_is_full_ends_with_74(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, made, url = tmp_path / "fleet.db", jobs(300), str(tmp_path / "store")
    honest = resume.reconcile

    def small(opened: Database, *arguments: Any) -> resume.PlannedJobs:
        """The database has room for its jobs, and for few attempts."""
        ((pages,),) = opened.rows("PRAGMA page_count")
        opened.rows(f"PRAGMA max_page_count={int(str(pages)) + 3}")
        return honest(opened, *arguments)

    monkeypatch.setattr(resume, "reconcile", small)
    end = sweep(path, made, InlineEngine(8), url)
    assert end.exit_code == 74
    assert "database or disk is full" in end.message
    assert 0 < end.states["planned"] + end.states["running"] < 300
    committed = cas.open(url).keys()
    monkeypatch.setattr(resume, "reconcile", honest)
    sweep(path, made, InlineEngine(), url)
    assert rows(path) == calm(tmp_path, made)
    subjects = {one.key: one.subject for one in made}
    assert all(len(attempts(path).get(subjects[key], [])) <= 1 for key in committed)  # none of them ran again


def test_a_clock_that_jumps_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, calls = time.time, iter(range(1_000_000))
    made = jobs(60)
    expected = calm(tmp_path, made)
    monkeypatch.setattr(time, "time", lambda: honest() + (86_400, -86_400, 0)[next(calls) % 3])
    path, url = tmp_path / "fleet.db", str(tmp_path / "store")
    assert sweep(path, made[:30], InlineEngine(4), url, stop_after_s=0.05).exit_code in (1, 75)
    sweep(path, made, InlineEngine(4), url)
    assert rows(path) == expected
    assert next(calls) > 20  # it was asked, and wrong
    assert once(path)
