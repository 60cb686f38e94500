"""A stage that does nothing: how a sweep grows with its jobs is measured with it, and every fault caused.

    {"act": "end", "refused": 0.01, "seconds": 0.0}    one key in a hundred is refused, by its key
    {"act": "die"}                                     kills its worker, as often as it runs
    {"log": "/tmp/spans"}                              adds when it ran to a file

Seconds and outcome come from key and options alone: the same in every run.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slide_export.core.errors import RequestError

from .job import Job
from .stages import STAGES

ARTIFACTS, SHARDS = 4, 4


def perform(key: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a job with these options comes to, in the process that calls."""
    start = time.monotonic()
    if seconds := options.get("seconds"):
        time.sleep(seconds)
    act = options.get("act", "end")
    if act not in ACTS:
        raise RequestError(f"expected an act of {', '.join(ACTS)} to simulate, found {act!r}")
    ACTS[act](options)
    if log := options.get("log"):
        with Path(log).open("a") as file:  # of one clock for all processes of a machine
            file.write(f"{key} {start} {time.monotonic()}\n")
    if int(key[:8], 16) / 16**8 < options.get("refused", 0.0):
        return {"exit_code": 1, "message": "refused, as its key has it"}
    return {"exit_code": 0, "message": "", "result": {"number": int(key[:8], 16)}}


def in_child(order: Mapping[str, Any]) -> dict[str, Any]:
    """The same in a process of its own."""
    return perform(order["key"], order["spec"]["options"])


def _end(_: Mapping[str, Any]) -> None:
    """Nothing more."""


def _die(_: Mapping[str, Any]) -> None:
    """Kill the process, and with it the worker where it is that."""
    os.kill(os.getpid(), signal.SIGKILL)


def _die_once(options: Mapping[str, Any]) -> None:
    """Kill the process at the first try alone; the file at `mark` remembers it."""
    mark = Path(options["mark"])
    if not mark.exists():
        mark.touch()
        _die(options)


def _crash(_: Mapping[str, Any]) -> None:
    """Read where no memory is, as native code may."""
    ctypes.string_at(0)


def _hang(_: Mapping[str, Any]) -> None:
    """Never end."""
    while True:
        time.sleep(1)


def _hang_beside(options: Mapping[str, Any]) -> None:
    """Never end, beside a process of its own whose number is at `mark`."""
    Path(options["mark"]).write_text(str(subprocess.Popen(("sleep", "1000")).pid))
    _hang(options)


def _eat(options: Mapping[str, Any]) -> None:
    """Fill memory that the job did not ask for."""
    kept = [bytes(1 << 20) for _ in range(int(options.get("mib", 1 << 20)))]
    del kept


ACTS = {
    "end": _end,
    "die": _die,
    "die once": _die_once,
    "crash": _crash,
    "hang": _hang,
    "hang beside": _hang_beside,
    "eat": _eat,
}


def jobs(checkpoints: int, *, seconds: float = 0.0, refused: float = 0.01) -> Iterator[Job]:
    """The graph of a sweep: 33 jobs a checkpoint.

    digest ── export ×4 ┬─ verify
                        ├─ evaluate ×4 ── merge
                        └─ bench
    """
    options = {"act": "end", "seconds": seconds, "refused": refused}

    def job(subject: str, *needs: Job) -> Job:
        """One of them, that needs others."""
        inputs = {"jobs": [one.key for one in needs]}
        return Job.of(
            "simulated", STAGES["simulated"].version, subject, {"slot": 1}, options={**options, "subject": subject},
            inputs=inputs, environment={}, needs=tuple(one.key for one in needs),
        )  # fmt: skip

    for number in range(checkpoints):
        name = f"checkpoint {number:05}"
        digest = job(f"{name} digest")
        yield digest
        for artifact in range(ARTIFACTS):
            named = f"{name} artifact {artifact}"
            export = job(f"{named} export", digest)
            shards = [job(f"{named} evaluate {shard}", export) for shard in range(SHARDS)]
            yield export
            yield job(f"{named} verify", export)
            yield from shards
            yield job(f"{named} merge", *shards)
            yield job(f"{named} bench", export)
