"""A few cases of `kills` and `errors`, which share one process that has the imports; `make faults` runs the rest."""

from pathlib import Path

import pytest

from tests.faults import errors, kills
from tests.faults.faulted_export import KILL, SCENARIOS, TORN, Calls, compiler
from tests.faults.outcome import GOOD


@pytest.mark.skipif(compiler() is None, reason="no C compiler: cc, gcc or clang makes the preloaded library")
def test_nothing_is_lost_or_left(tmp_path: Path) -> None:
    """With `--overwrite` on onnx: a kill, two of them in turn, two errors, apart from each other."""
    for suite, turn in ((kills, 19), (kills, 999), (errors, 25), (errors, 70)):
        room = tmp_path / f"{suite.NAME}-{turn}"
        room.mkdir()
        outcome = suite.run(0, turn * len(SCENARIOS), room)
        assert outcome.verdict in GOOD, outcome


def test_every_point_has_a_turn_before_two_are_drawn() -> None:
    turns = [kills.points(Calls(3, 2), "0:onnx", turn) for turn in range(6)]
    assert sorted(turns[:5]) == [[(KILL, 1)], [(KILL, 2)], [(KILL, 3)], [(TORN, 1)], [(TORN, 2)]]
    assert len(turns[5]) == 2
    assert all([point] in turns for point in turns[5])
