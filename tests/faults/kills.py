"""`kill -9` before every system call that changes something below `--out`.

After it the older bundle stands whole or the new one does, or nothing where nothing was; and the next run removes
whatever else was left.
"""

from __future__ import annotations

from pathlib import Path

from slide_export.core.errors import SlideExportError

from .faulted_export import KILL, SCENARIOS, compiler, exports, next_run
from .outcome import Outcome

NAME = "kills"
CASES = 560


def run(seed: int, index: int, room: Path) -> Outcome:
    """Kill one export: every point in turn, the seed says which is first."""
    if compiler() is None:
        return Outcome("skipped", "there is no C compiler")
    scenario, made, out = SCENARIOS[index % len(SCENARIOS)], exports(), room / "out"
    before = made.begin(scenario, out)
    at = 1 + (seed + index // len(SCENARIOS)) % made.count(scenario)
    where = f"{scenario.name}, call {at} of {made.count(scenario)}"
    end = made.run(scenario, out, KILL, at)
    if "signal 9" not in end.message:
        return Outcome("crash", f"{where}: expected a kill, found {end.result or end.message}")
    try:
        if scenario.exchange and before and made.stands(out / scenario.place) is None:
            return Outcome("lost", f"{where}: no bundle stands, not even until the next run")
        left = next_run(out)
        after = made.stands(out / scenario.place)
    except SlideExportError as error:
        return Outcome("lost", f"{where}: {error}")
    if before and not after:
        return Outcome("lost", f"{where}: no bundle stands")
    return Outcome("left", f"{where}: {left}") if set(left) - {scenario.place} else Outcome("fine")
