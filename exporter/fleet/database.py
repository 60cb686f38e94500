"""A sweep's memory: jobs, what they need, every attempt at them, what came of it. One process writes, others read."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType

from slide_export.core.errors import RequestError, WriteError
from slide_export.core.files import refuse_unwritable

from . import claim
from .job import Answer, Job, Outcome, State
from .local_disk import refuse_elsewhere
from .schema import TABLES, VERSION

BATCH = 5000  # rows in a transaction: a few MB of journal
JOURNAL_PAGES = 8000  # of 4 KiB, before they are written to the database itself
CACHE_KIB = 32 << 10
FULL = ("full", "disk I/O error", "readonly")
"""Words of SQLite where a place cannot be written."""


class Database:
    """The database of a sweep.

    Example:
        with Database.claimed(Path("fleet.db")) as database:
            plan = database.add_plan(text, sha256)
            database.add_jobs(plan, jobs)
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection
        self._client = ""

    @classmethod
    def claimed(cls, path: Path) -> Database:
        """Open or make a database to write to, which no other process then may.

        Raises:
            RequestError: it is on a network file system or where nothing can be written, no database of a sweep, or
                another process has it.
            WriteError: it cannot be written.
        """
        refuse_elsewhere(path)
        refuse_unwritable(path)
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            database = cls(path, _connect(path))
            try:
                database._client = claim.take(database._db, path)
            except BaseException:
                database._db.close()
                raise
        return database

    @classmethod
    def read_only(cls, path: Path) -> Database:
        """Open a database beside the process that writes it.

        Raises:
            RequestError: there is none.
        """
        if not path.is_file():
            raise RequestError(f"expected the database of a sweep at {path}, found none: name the one that it writes")
        with _told(path):
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
            _refuse_other(connection, path)
        return cls(path, connection)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._client:
            try:
                with self.transaction():
                    claim.give_back(self._db)
            except WriteError:
                if error is None:
                    raise
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all of a block or nothing; a block within another is a part of that.

        Raises:
            WriteError: the disk is full or fails; nothing of the block was kept.
        """
        if self._db.in_transaction:
            yield self._db
            return
        with _told(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Rows of a query."""
        with _told(self.path):
            return self._db.execute(query, values).fetchall()

    def each(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[object, ...]]:
        """Rows of a query, one after the other: for tables that are long."""
        with _told(self.path):
            yield from self._db.execute(query, values)

    def last_plan(self) -> tuple[int, str, str] | None:
        """Number, text and sha256 of the plan that was run last."""
        found = self._db.execute("SELECT id, text, sha256 FROM plan ORDER BY id DESC LIMIT 1").fetchone()
        return None if found is None else (int(found[0]), str(found[1]), str(found[2]))

    def add_plan(self, text: str, sha256: str) -> int:
        """The number of a plan; the one that was run last is not written again."""
        last = self.last_plan()
        if last is not None and last[2] == sha256:
            return last[0]
        with self.transaction() as db:
            made = db.execute("INSERT INTO plan(text, sha256, began) VALUES(?,?,?)", (text, sha256, time.time()))
        return int(made.lastrowid or 0)

    def add_jobs(self, plan: int, jobs: Iterable[Job]) -> None:
        """Write the jobs of a plan in their order, each after those that it needs; known ones keep their state."""
        known = {row[0] for row in self._db.execute("SELECT job FROM plan_job WHERE plan = ?", (plan,))}
        place, rest = len(known), iter(jobs)
        while batch := list(islice(rest, BATCH)):
            new = [job for job in batch if job.key not in known]
            known.update(job.key for job in new)
            with self.transaction() as db:
                db.executemany(
                    "INSERT OR IGNORE INTO job(key, stage, subject, class, spec, state) VALUES(?,?,?,?,?,'planned')",
                    [(job.key, job.stage, job.subject, job.worker_class, job.spec) for job in new],
                )
                db.executemany(
                    "INSERT OR IGNORE INTO edge(job, needs) VALUES(?,?)",
                    [(job.key, needed) for job in new for needed in job.needs],
                )
                db.executemany(
                    "INSERT INTO plan_job(plan, place, job) VALUES(?,?,?)",
                    [(plan, place + offset, job.key) for offset, job in enumerate(new)],
                )
            place += len(new)

    def begin(self, jobs: Sequence[str]) -> range:
        """Write that attempts begin, and number them."""
        now = time.time()
        with self.transaction() as db:
            last = db.execute("SELECT coalesce(max(id), 0) FROM attempt").fetchone()[0]
            numbers = range(last + 1, last + 1 + len(jobs))
            db.executemany(
                "INSERT INTO attempt(id, job, client, submitted) VALUES(?,?,?,?)",
                [(number, key, self._client, now) for number, key in zip(numbers, jobs, strict=True)],
            )
            db.executemany("UPDATE job SET state = 'running' WHERE key = ?", [(key,) for key in jobs])
        return numbers

    def end(self, db: sqlite3.Connection, ends: Iterable[tuple[int, Outcome, str, Answer | None]]) -> None:
        """Write attempts' ends, within a transaction: number, outcome, worker, what was told."""
        now = time.time()
        db.executemany(
            "UPDATE attempt SET ended = ?, outcome = ?, worker = ?, message = ?, peak_mib = ? WHERE id = ?",
            [
                (now, outcome, worker or None, told and (told.message or None), told and told.peak_mib, number)
                for number, outcome, worker, told in ends
            ],
        )

    def settle(self, db: sqlite3.Connection, settled: Sequence[tuple[str, State, Answer | None]]) -> None:
        """Write jobs' states and what came of them, within a transaction."""
        known = [(key, state, told) for key, state, told in settled if told is not None]
        db.executemany(
            "INSERT OR IGNORE INTO artifact VALUES(?,?,?,?)",
            [(told.output, told.kind, told.bytes, int(told.ephemeral)) for _, _, told in known if told.output],
        )
        db.executemany(
            "UPDATE job SET state = ? WHERE key = ?", [(state, key) for key, state, told in settled if told is None]
        )
        db.executemany(
            "UPDATE job SET state = ?, exit_code = ?, message = ?, output = ?, result = ?, seconds = ? WHERE key = ?",
            [(state, told.exit_code, told.message or None, told.output, _json(told.result), told.seconds, key)
             for key, state, told in known],
        )  # fmt: skip
        db.executemany(
            "INSERT OR REPLACE INTO measure(job, name, value, low, high) VALUES(?,?,?,?,?)",
            [(key, name, *values) for key, _, told in known for name, values in told.measures.items()],
        )
        db.executemany(
            "INSERT OR REPLACE INTO finding VALUES(?,'nondeterministic',?)",
            [
                (key, f"a second execution differs in {', '.join(told.differs)}")
                for key, _, told in known
                if told.differs
            ],
        )

    def note(self, name: str, value: object) -> None:
        """Keep a value for `status`: it is of the running sweep alone."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO note VALUES(?,?)", (name, json.dumps(value, allow_nan=False)))

    def notes(self) -> Mapping[str, object]:
        """What the running sweep told."""
        return {str(name): json.loads(str(value)) for name, value in self.rows("SELECT name, value FROM note")}


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value, allow_nan=False)


def _connect(path: Path) -> sqlite3.Connection:
    """A connection that waits for others and has the tables."""
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    try:
        _refuse_other(connection, path, new=True)
        connection.execute("PRAGMA journal_mode=WAL")
        # Without power a machine may lose the last transactions, never half of one: answers are in the artifact store
        # before they are here, and are found there. A flush of the disk a job would cost more than all the rest.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint={JOURNAL_PAGES}")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_other(connection: sqlite3.Connection, path: Path, *, new: bool = False) -> None:
    """Refuse a database of another program or version."""
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if found != VERSION and not (new and found == 0 and tables == 0):
        what = f"version {found}" if found else "one of another program"
        raise RequestError(
            f"expected the database of a sweep, version {VERSION}, at {path}, found {what}: name another file"
        )


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn SQLite's words into ours."""
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        if isinstance(error, OSError) or any(word in str(error) for word in FULL):
            raise WriteError(
                f"expected to write the database {path}, the system says: {error}; what was committed is kept: make "
                "room and run the same command again"
            ) from error
        raise RequestError(f"expected the database of a sweep at {path}, SQLite says: {error}") from error
