"""ENOSPC, EIO and EACCES of every system call that changes something below `--out`, once or from there on.

The export ends with exit code 74 and one sentence that names the place, or is done in spite of it (an error in removing
what it no longer needs); the older bundle stands whole or the new one does, and nothing else is left for good.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from slide_export.core import errors as raised
from slide_export.core.errors import UNWRITABLE, SlideExportError

from .faulted_export import FAIL, FULL, NEWER, SCENARIOS, Scenario, compiler, exports, next_run
from .outcome import Outcome

NAME = "errors"
CASES = 1008
FAULTS = ((FAIL, errno.ENOSPC), (FAIL, errno.EIO), (FULL, errno.ENOSPC), (FAIL, errno.EACCES))
REJECTED = 1


def run(seed: int, index: int, room: Path) -> Outcome:
    """Let one call fail: every point in turn with each error, the seed says which is first."""
    if compiler() is None:
        return Outcome("skipped", "there is no C compiler")
    scenario, made, out = SCENARIOS[index % len(SCENARIOS)], exports(), room / "out"
    before = made.begin(scenario, out)
    turn = seed + index // len(SCENARIOS)
    action, error = FAULTS[turn % len(FAULTS)]
    calls = made.count(scenario).changes
    at = 1 + turn // len(FAULTS) % calls
    end = made.run(scenario, out, action, at, error)
    where = f"{scenario.name}, {errno.errorcode[error]} at call {at} of {calls}"
    if end.result is None:
        return Outcome("traceback", f"{where}: {end.message}")
    where += f" ({end.result['last']})"
    try:
        after = made.stands(out / scenario.place)
        left = next_run(out)
    except SlideExportError as error_of_ours:
        return Outcome("lost", f"{where}: {error_of_ours}")
    if before and not after:
        return Outcome("lost", f"{where}: no bundle stands")
    if set(left) - {scenario.place}:
        return Outcome("left", f"{where}: {left}")
    return _of_the_end(scenario, end.result, after, out, where)


def _of_the_end(scenario: Scenario, end: dict[str, Any], after: str | None, out: Path, where: str) -> Outcome:
    error = raised.from_answer(end) if "error" in end else None
    code, message = (0, "") if error is None else (error.exit_code, end["error"])
    if code == (REJECTED if scenario.rejected else 0):
        return Outcome("fine") if after == NEWER else Outcome("silent", f"{where}: exit code {code}, {after} stands")
    clear = code == UNWRITABLE and str(out) in message and message.isprintable() and len(message) < 1000
    return Outcome("refused") if clear else Outcome("message", f"{where}: exit code {code}, {message}")
