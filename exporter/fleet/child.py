"""What a job's own process does first and last: limits, its place, then the stage; refusals become an answer."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slide_export.core import files
from slide_export.core.errors import CRASHED, SlideExportError, WriteError

from .stages import STAGES

FIRST_TO_GO = "500"
"""Of the kernel's -1000 to 1000: it ends this process for memory before the worker that waits for it."""
BASE_GIB = 1.0  # what frameworks map beside a job's own data


def perform(order: Mapping[str, Any]) -> dict[str, Any]:
    """Run one job's stage in its place, from paths that are the same on every machine.

    An error that is no refusal is a crash: it is left to end the process, whose last words are kept.
    """
    limit(order["memory_gib"])
    os.chdir(order["place"])
    for link, target in order["links"].items():
        Path(link).parent.mkdir(parents=True, exist_ok=True)
        Path(link).symlink_to(target)
    module, _, name = STAGES[order["stage"]].function.partition(":")
    try:
        return dict(getattr(importlib.import_module(module), name)(order))
    except Exception as error:
        if order["memory_gib"] and files.lacked_memory(error):
            more = f"say more in the plan's needs, {order['stage']}: {{memory_gib: {2 * order['memory_gib']:g}}}"
            said = f"it needs more memory than the {order['memory_gib']:g} GiB it has: {more}"
            return {"exit_code": CRASHED, "message": said}
        if isinstance(error, SlideExportError):
            return {"exit_code": error.exit_code, "message": str(error)}
        if refusal := files.write_refusal(error, None):
            return {"exit_code": WriteError.exit_code, "message": refusal}
        raise


def limit(memory_gib: float) -> None:
    """Bound what this process may allocate, and offer it to the kernel first; 0 bounds nothing."""
    if sys.platform != "linux":
        return
    import resource

    with contextlib.suppress(OSError):  # a container may not allow it: then the limit alone holds
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
    if memory_gib:
        most = int((memory_gib + BASE_GIB) * (1 << 30))
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (most if hard < 0 else min(most, hard), hard))
