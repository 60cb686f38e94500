"""One writer a database: a row with host, process and its start, taken over once that process is gone."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

from slide_export.core.errors import RequestError


def take(db: sqlite3.Connection, path: Path) -> str:
    """Claim a database for this process; its name in `attempt.client`.

    Raises:
        RequestError: another process has it.
    """
    host, pid = socket.gethostname(), os.getpid()
    started = start_of(pid)
    db.execute("BEGIN IMMEDIATE")
    try:
        found = db.execute("SELECT host, pid, started FROM client").fetchone()
        if found is not None and is_held(found[0], found[1], found[2]):
            raise RequestError(
                f"expected one sweep a database, {path} is being written by process {found[1]} of {found[0]}: wait for "
                "it, or cancel it"
            )
        db.execute("INSERT OR REPLACE INTO client VALUES(1,?,?,?)", (host, pid, started))
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
    return f"{host}:{pid}"


def give_back(db: sqlite3.Connection) -> None:
    """End this process's claim."""
    db.execute("DELETE FROM client WHERE pid = ? AND host = ?", (os.getpid(), socket.gethostname()))


def is_held(host: str, pid: int, started: str) -> bool:
    """Whether the process of a claim still runs; of another machine's nothing is known: it holds."""
    if host != socket.gethostname():
        return True
    return bool(started) and start_of(pid) == started


def start_of(pid: int) -> str:
    """When a process started, as its system counts; empty where there is none of that number.

    Numbers of processes come again: the start tells one from its successor.
    """
    if sys.platform == "linux":
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return ""
        fields = status.rpartition(")")[2].split()
        if fields[0] in "ZX":
            return ""
        return f"{fields[19]} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
    asked = subprocess.run(("ps", "-o", "lstart=", "-p", str(pid)), capture_output=True, text=True, check=False)
    return asked.stdout.strip()
