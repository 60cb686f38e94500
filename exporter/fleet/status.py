"""How a sweep stands, read beside the process that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import claim
from .database import Database
from .job import STATES

SHOWN = 20  # failures that are listed


@dataclass(frozen=True)
class Status:
    """A sweep's jobs by stage and state.

    Attributes:
        running: whether a process runs it now.
        counts: jobs by stage and state.
        lacking: classes that no worker offers, and for how many seconds.
        failures: stage, subject, state and message of jobs without an output, the first of them.
        left_s: seconds that the rest would take at the pace so far, on as many slots; None where nothing tells.
    """

    running: bool
    counts: Mapping[str, Mapping[str, int]]
    lacking: Mapping[str, int]
    failures: tuple[tuple[str, str, str, str], ...]
    slots: int
    left_s: float | None

    @property
    def settled(self) -> bool:
        """Whether every job has a final state."""
        return not any(states.get("planned") or states.get("running") for states in self.counts.values())


def read(path: Path) -> Status:
    """How the sweep of a database stands.

    Raises:
        RequestError: there is no such database.
    """
    with Database.read_only(path) as database:
        last = database.last_plan()
        plan = 0 if last is None else last[0]
        rows = database.rows(
            "SELECT stage, state, count(*), avg(seconds) FROM plan_job JOIN job ON key = job WHERE plan = ? "
            "GROUP BY stage, state",
            (plan,),
        )
        holder = database.rows("SELECT host, pid, started FROM client")
        failures = database.rows(
            "SELECT stage, subject, state, coalesce(message, '') FROM plan_job JOIN job ON key = job WHERE plan = ? "
            "AND state IN ('refused', 'failed', 'poison', 'blocked', 'cancelled') ORDER BY state = 'blocked', place "
            f"LIMIT {SHOWN}",
            (plan,),
        )
        workers: Any = database.notes().get("workers", {})
    counts: dict[str, dict[str, int]] = {}
    for stage, state, count, _ in rows:
        counts.setdefault(str(stage), {})[str(state)] = int(str(count))
    running = any(claim.is_held(str(host), int(str(pid)), str(started)) for host, pid, started in holder)
    slots = int(workers.get("slots", 0))
    return Status(
        running,
        counts,
        workers.get("lacking", {}) if running else {},
        tuple((str(a), str(b), str(c), str(d)) for a, b, c, d in failures),
        slots,
        _left(rows, slots),
    )


def _left(rows: list[tuple[object, ...]], slots: int) -> float | None:
    """Seconds for the jobs that are left, by the mean of their stage so far."""
    means = {row[0]: float(str(row[3])) for row in rows if row[1] == "done" and row[3] is not None}
    left = [(row[0], int(str(row[2]))) for row in rows if row[1] in ("planned", "running")]
    if not slots or any(stage not in means for stage, _ in left):
        return None
    return sum(means[stage] * count for stage, count in left) / slots


def as_plain(found: Status) -> dict[str, Any]:
    """A status ready for JSON."""
    names = ("stage", "subject", "state", "message")
    return {
        "running": found.running,
        "settled": found.settled,
        "states": {state: sum(states.get(state, 0) for states in found.counts.values()) for state in STATES},
        "stages": found.counts,
        "slots": found.slots,
        "lacking": found.lacking,
        "left_s": found.left_s,
        "failures": [dict(zip(names, one, strict=True)) for one in found.failures],
    }


def as_text(found: Status) -> str:
    """A status as lines of text."""
    lines = []
    for stage, states in found.counts.items():
        told = "  ".join(f"{states[state]} {state}" for state in STATES if states.get(state))
        lines.append(f"{stage:10}  {told}")
    for worker_class, seconds in found.lacking.items():
        lines.append(f"no worker offers {worker_class}, since {seconds} s")
    lines += [f"{state}: {stage} {subject}: {message}" for stage, subject, state, message in found.failures]
    if not found.settled:
        rest = "" if found.left_s is None else f", about {found.left_s / 60:.0f} min left on {found.slots} slots"
        lines.append(f"running{rest}" if found.running else "not running: the same command goes on with it")
    return "\n".join(lines)
