"""Other processes of slide-export beside a measurement: jobs of sweeps wait for each other, other commands do not."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePath
from typing import Any

SHARE = 0.05  # of one processor: a client that waits takes less
PROGRAM, MODULE = "slide-export", "slide_export"


def running() -> dict[int, float]:
    """Processor seconds so far of each, by its number; nothing where psutil, a part of the fleet's extra, is not."""
    try:
        psutil: Any = importlib.import_module("psutil")
    except ImportError:
        return {}
    own = psutil.Process()
    family = {one.pid for one in (own, *own.parents(), *own.children(recursive=True))}
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        if process.pid not in family and is_ours(process.info["cmdline"] or []):
            with suppress(psutil.Error):  # it ended meanwhile, or is another user's who hides it
                times = process.cpu_times()
                found[process.pid] = float(times.user + times.system)
    return found


def is_ours(words: list[str]) -> bool:
    """Whether a command is slide-export's: `python -m slide_export…`, or the program by its name."""
    return any(PurePath(word).name == PROGRAM or word.split(".")[0] == MODULE for word in words[:4])


def disturbances(before: Mapping[int, float], after: Mapping[int, float], seconds: float) -> tuple[str, ...]:
    """What took processor time between two looks, in words.

    Given   {7: 1.0}, {7: 4.0, 8: 0.1}, 20.0
    Result  ("another process of slide-export, 7, took 3.0 s of a processor meanwhile",)
    """
    spent = {pid: used - before.get(pid, 0.0) for pid, used in after.items()}
    return tuple(
        f"another process of slide-export, {pid}, took {used:.1f} s of a processor meanwhile"
        for pid, used in spent.items()
        if used > SHARE * seconds
    )
