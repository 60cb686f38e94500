"""`kill -9` before every system call that changes something below `--out`, and in the middle of every one that writes.

After it the older bundle stands whole or the new one does, or nothing where nothing was; and the next run removes
whatever else was left, also where that one was killed as well.
"""

from __future__ import annotations

import random
from pathlib import Path

from slide_export.core.errors import SlideExportError

from .faulted_export import KILL, SCENARIOS, TORN, Calls, compiler, exports, next_run
from .outcome import Outcome

NAME = "kills"
CASES = 756


def run(seed: int, index: int, room: Path) -> Outcome:
    """Kill one export, or two in turn, at the points of a turn."""
    if compiler() is None:
        return Outcome("skipped", "there is no C compiler")
    scenario, made, out = SCENARIOS[index % len(SCENARIOS)], exports(), room / "out"
    before = made.begin(scenario, out)
    killed = points(made.count(scenario), f"{seed}:{scenario.name}", index // len(SCENARIOS))
    where = f"{scenario.name}, {killed} of {made.count(scenario)}"
    try:
        for nth, (action, at) in enumerate(killed):
            end = made.run(scenario, out, action, at)
            ended = nth and end.result is not None  # the second has fewer calls where the first was nearly done
            if "signal 9" not in end.message and not ended:
                return Outcome("crash", f"{where}: expected a kill, found {end.result or end.message}")
            if scenario.exchange and before and made.stands(out / scenario.place) is None:
                return Outcome("lost", f"{where}: no bundle stands, not even until the next run")
        left = next_run(out)
        after = made.stands(out / scenario.place)
    except SlideExportError as error:
        return Outcome("lost", f"{where}: {error}")
    if before and not after:
        return Outcome("lost", f"{where}: no bundle stands")
    return Outcome("left", f"{where}: {left}") if set(left) - {scenario.place} else Outcome("fine")


def points(calls: Calls, seed: str, turn: int) -> list[tuple[int, int]]:
    """Where the exports of a turn are killed: one of every point, then two, one after the other, at random.

    Given 2 calls, one of which writes: three turns, in an order that the seed draws, of `[(KILL, 1)]`, `[(KILL, 2)]`
    and `[(TORN, 1)]`; then `[(KILL, 2), (KILL, 1)]` and the like.
    """
    single = [(KILL, at + 1) for at in range(calls.changes)] + [(TORN, at + 1) for at in range(calls.writes)]
    random.Random(seed).shuffle(single)
    if turn < len(single):
        return [single[turn]]
    chance = random.Random(f"{seed}:{turn}")
    return [chance.choice(single) for _ in range(2)]
