"""A claim holds while its process runs, is taken over once it is gone, and is another's on another machine."""

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slide_export.core.errors import RequestError
from slide_export.fleet import claim

HERE = socket.gethostname()


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:", isolation_level=None)
    made.execute("CREATE TABLE client (id INTEGER PRIMARY KEY, host TEXT, pid INTEGER, started TEXT)")
    yield made
    made.close()


def claimed_by(db: sqlite3.Connection, host: str, pid: int, started: str) -> None:
    db.execute("INSERT INTO client VALUES(1,?,?,?)", (host, pid, started))


def test_a_process_of_the_same_number_is_another_one() -> None:
    here = claim.start_of(os.getpid())
    assert claim.is_held(HERE, os.getpid(), here)
    assert not claim.is_held(HERE, os.getpid(), f"1{here}")
    assert not claim.is_held(HERE, os.getpid(), "")
    assert claim.is_held("another host", 1, "")


def test_a_process_that_ended_has_no_start_even_before_it_is_waited_for() -> None:
    ended = subprocess.Popen((sys.executable, "-c", ""))
    deadline = time.monotonic() + 30
    while claim.start_of(ended.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert claim.start_of(ended.pid) == ""
    ended.wait()
    assert not claim.is_held(HERE, ended.pid, "")


def test_a_database_without_a_writer_is_taken_and_given_back(db: sqlite3.Connection) -> None:
    assert claim.take(db, Path("fleet.db")) == f"{HERE}:{os.getpid()}"
    assert db.execute("SELECT host, pid FROM client").fetchall() == [(HERE, os.getpid())]
    claim.give_back(db)
    assert db.execute("SELECT * FROM client").fetchall() == []


@pytest.mark.parametrize("host", [HERE, "another host"])
def test_a_writer_that_runs_or_may_run_keeps_it(host: str, db: sqlite3.Connection) -> None:
    claimed_by(db, host, os.getppid(), claim.start_of(os.getppid()))
    with pytest.raises(RequestError, match=f"being written by process {os.getppid()} of {host}"):
        claim.take(db, Path("fleet.db"))
    assert not db.in_transaction
    claim.give_back(db)  # of others nothing is given back
    assert db.execute("SELECT count(*) FROM client").fetchone() == (1,)


def test_the_claim_of_a_process_that_is_gone_is_taken_over(db: sqlite3.Connection) -> None:
    claimed_by(db, HERE, os.getppid(), "another start")
    claim.take(db, Path("fleet.db"))
    assert db.execute("SELECT pid FROM client").fetchall() == [(os.getpid(),)]
