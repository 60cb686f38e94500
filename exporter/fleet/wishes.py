"""What is asked of a running sweep: by a signal, or by another process in a file beside its database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from slide_export.core import files
from slide_export.core.errors import OUT_OF_TIME, RequestError

from . import claim
from .database import Database
from .job import Answer


@dataclass
class Wishes:
    """What the one who started a sweep asks of it meanwhile, from a signal or another process.

    Attributes:
        no_more: no new jobs; those in flight are waited for.
        at_once: kill them.
        cancel: jobs that are not wanted any more; None stands for all.
    """

    no_more: bool = False
    at_once: bool = False
    cancel: list[str] | None = None
    cancelled: bool = False


def file_of(database: Path) -> Path:
    """Where the process that runs a sweep looks."""
    return database.with_name(f"{database.name}.cancel")


def cancel(path: Path, names: Sequence[str]) -> tuple[int, bool]:
    """Cancel jobs of a sweep, all that are not settled without names; how many, and whether a running one is asked.

    Args:
        names: beginnings of keys, or stage and subject with wildcards.

    Raises:
        RequestError: no job has such a name.
    """
    with Database.read_only(path) as database:
        rows = database.rows("SELECT key, stage || ' ' || subject FROM job WHERE state IN ('planned', 'running')")
        holder = database.rows("SELECT host, pid, started FROM client")
    chosen = [
        str(key) for key, subject in rows if not names or any(_means(one, str(key), str(subject)) for one in names)
    ]
    if names and not chosen:
        raise RequestError(f"expected jobs that are not settled, found none that {names[0]!r} names")
    running = any(claim.is_held(str(host), int(str(pid)), str(started)) for host, pid, started in holder)
    if running:
        files.write(file_of(path), json.dumps(chosen, allow_nan=False))
        return len(chosen), True
    with Database.claimed(path) as database, database.transaction() as db:
        said = Answer("cancelled", OUT_OF_TIME, "it was cancelled")
        database.settle(db, [(key, "cancelled", said) for key in chosen])
    return len(chosen), False


def asked(path: Path) -> list[str] | None:
    """Keys that another process asks to cancel; None where nobody asks. Each wish is told once."""
    place = file_of(path)
    try:
        keys = json.loads(place.read_text(errors="replace"))
    except FileNotFoundError:
        return None
    except ValueError:
        keys = None  # not of ours
    place.unlink(missing_ok=True)
    return [str(key) for key in keys] if isinstance(keys, list) else None


def _means(name: str, key: str, subject: str) -> bool:
    return (len(name) >= 4 and key.startswith(name)) or fnmatchcase(subject, name)
