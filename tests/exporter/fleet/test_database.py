"""One writer, committed transactions that survive a killed process, and words for a disk that is full."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slide_export.core.errors import RequestError, WriteError
from slide_export.fleet import simulated
from slide_export.fleet.database import Database
from slide_export.fleet.job import Answer

WRITER = """
import sys, time
from pathlib import Path
from slide_export.fleet.database import Database
with Database.claimed(Path(sys.argv[1])) as database:
    print("claimed", flush=True)
    number = 0
    while True:
        number += 1
        with database.transaction() as db:
            db.execute("INSERT OR REPLACE INTO note VALUES('a', ?)", (str(number),))
            db.execute("INSERT OR REPLACE INTO note VALUES('b', ?)", (str(number),))
"""


KILLED = """
import os, random, signal, sqlite3, sys, time
from pathlib import Path
from slide_export.fleet import simulated
from slide_export.fleet.database import Database
from slide_export.fleet.job import Answer
path, chance, last = Path(sys.argv[1]), random.Random(0), 0
jobs = list(simulated.jobs(2))
for kill in range(int(sys.argv[2])):
    ready, written = os.pipe()
    child = os.fork()
    if not child:
        with Database.claimed(path) as database:
            database.add_jobs(database.add_plan("text", "0" * 64), jobs)
            os.write(written, b"1")
            while True:
                keys = [job.key for job in chance.sample(jobs, 5)]
                numbers = database.begin(keys)
                told = Answer("done", result={"n": 1})
                with database.transaction() as db:
                    database.end(db, [(number, "done", "w", told) for number in numbers])
                    database.settle(db, [(key, "done", told) for key in keys])
    if kill % 3:  # else while it opens the database and writes its jobs
        os.read(ready, 1)
    time.sleep(chance.uniform(0.0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(written)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    if connection.execute("PRAGMA user_version").fetchone()[0]:
        (count,) = connection.execute("SELECT count(*) FROM attempt").fetchone()
        (whole,) = connection.execute("SELECT count(*) FROM job").fetchone()
        assert count >= last and count % 5 == 0 and whole in (0, len(jobs)), (count, last, whole)
        last = count
    connection.close()
print(last)
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "fleet.db")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_second_writer_is_refused_while_the_first_lives(writer: subprocess.Popen[str], tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    with pytest.raises(RequestError, match=f"is being written by process {writer.pid} of"):
        Database.claimed(path)
    with Database.read_only(path) as beside:  # `status` reads beside it
        assert set(beside.notes()) <= {"a", "b"}
        beside._db.close()
    end(writer)
    with Database.claimed(path) as taken:
        assert taken.rows("SELECT pid FROM client") == [(os.getpid(),)]
    with Database.read_only(path) as left:
        assert left.rows("SELECT count(*) FROM client") == [(0,)]


def test_a_killed_writer_leaves_whole_transactions(writer: subprocess.Popen[str], tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    for _ in range(3):
        writer.send_signal(signal.SIGSTOP)
        writer.send_signal(signal.SIGCONT)
    end(writer)
    with Database.claimed(path) as database:
        assert database.rows("PRAGMA integrity_check") == [("ok",)]
        notes = database.notes()
        assert notes.get("a") == notes.get("b")


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_kills_at_any_moment_leave_whole_transactions(kills: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "fleet.db"), str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0  # attempts were written


def test_a_full_disk_is_told_and_undone(tmp_path: Path) -> None:
    with Database.claimed(tmp_path / "fleet.db") as database:
        plan = database.add_plan("text", "0" * 64)
        pages = database.rows("PRAGMA page_count")[0][0]
        database._db.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(WriteError, match="database or disk is full") as refused:
            database.add_jobs(plan, simulated.jobs(30))
        assert refused.value.exit_code == 74
        assert database.rows("SELECT count(*) FROM job") == [(0,)]
        database._db.execute("PRAGMA max_page_count=100000")
        database.add_jobs(plan, simulated.jobs(30))
        assert database.rows("SELECT count(*) FROM job") == [(990,)]
        assert database.rows("PRAGMA integrity_check") == [("ok",)]


def test_what_came_of_a_job_is_written(tmp_path: Path) -> None:
    job = next(simulated.jobs(1))
    answer = Answer("done", output="ab", kind="bundle", bytes=7, result={"n": 1}, measures={"drop": (0.5, 0.1, None)},
                    seconds=2.0, peak_mib=33.0, differs=("output",))  # fmt: skip
    with Database.claimed(tmp_path / "fleet.db") as database:
        database.add_jobs(database.add_plan("text", "0" * 64), [job])
        (number,) = database.begin([job.key])
        with database.transaction() as db:
            database.end(db, [(number, "done", "w1", answer)])
            database.settle(db, [(job.key, "done", answer)])
        assert database.rows("SELECT state, output, result, seconds FROM job") == [("done", "ab", '{"n": 1}', 2.0)]
        assert database.rows("SELECT * FROM artifact") == [("ab", "bundle", 7, 0)]
        assert database.rows("SELECT outcome, worker, peak_mib FROM attempt") == [("done", "w1", 33.0)]
        assert database.rows("SELECT name, value, low, high FROM measure") == [("drop", 0.5, 0.1, None)]
        assert database.rows("SELECT message FROM finding") == [("a second execution differs in output",)]


@pytest.mark.parametrize("content", [b"no database at all, but a text of some length" * 30, None])
def test_another_file_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    if content is None:
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE mine(a)")
        other.commit()
        other.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(RequestError, match="expected the database of a sweep"):
        Database.claimed(path)
    with pytest.raises(RequestError, match="expected the database of a sweep"):
        Database.read_only(path)
    assert path.read_bytes() == before
