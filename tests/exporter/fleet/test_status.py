"""How a sweep stands: what is left at the pace so far, and what it says of itself."""

from dataclasses import replace
from pathlib import Path

import pytest

from slide_export.core.errors import RequestError
from slide_export.fleet.database import Database
from slide_export.fleet.job import Answer
from slide_export.fleet.status import SHOWN, Status, _left, as_plain, as_text, read
from tests.exporter.fleet.sweeps import job

STANDING = Status(True, {"export": {"done": 2, "planned": 1}}, {}, (), 2, 90.0)


@pytest.mark.parametrize(
    ("rows", "slots", "left"),
    [
        ([("export", "done", 2, 10.0), ("export", "planned", 3, None)], 2, 15.0),
        ([("export", "done", 2, 10.0), ("export", "running", 1, None), ("export", "planned", 1, None)], 1, 20.0),
        ([("export", "done", 2, 10.0), ("verify", "planned", 3, None)], 2, None),  # none of its stage was done
        ([("export", "done", 2, None), ("export", "planned", 3, None)], 2, None),
        ([("export", "failed", 2, 10.0), ("export", "planned", 3, None)], 2, None),
        ([("export", "done", 2, 10.0), ("export", "planned", 3, None)], 0, None),
        ([("export", "done", 2, 10.0), ("verify", "refused", 3, None)], 2, 0.0),
    ],
)
def test_what_is_left_is_told_by_the_mean_of_each_stage(
    rows: list[tuple[object, ...]], slots: int, left: float | None
) -> None:
    assert _left(rows, slots) == left


@pytest.mark.parametrize(
    ("states", "settled"),
    [({"done": 1}, True), ({"planned": 1}, False), ({"running": 1}, False), ({"planned": 0}, True)],
)
def test_a_sweep_is_settled_once_nothing_is_planned_or_runs(states: dict[str, int], settled: bool) -> None:
    assert replace(STANDING, counts={"export": states}).settled is settled


def test_a_status_in_words() -> None:
    said = as_text(replace(STANDING, lacking={'{"gpu":1}': 7}, failures=(("export", "a onnx", "refused", "why"),)))
    assert said.splitlines() == [
        "export      1 planned  2 done",
        'no worker offers {"gpu":1}, since 7 s',
        "refused: export a onnx: why",
        "running, about 2 min left on 2 slots",
    ]
    assert as_text(replace(STANDING, left_s=None)).endswith("\nrunning")
    assert "the same command goes on with it" in as_text(replace(STANDING, running=False))
    assert as_text(replace(STANDING, counts={"export": {"done": 2}})) == "export      2 done"


def test_a_database_is_read_beside_its_writer(tmp_path: Path) -> None:
    path, jobs = tmp_path / "fleet.db", [job(f"job {number:02}") for number in range(SHOWN + 2)]
    with Database.claimed(path) as database:
        database.add_jobs(database.add_plan("text", "0" * 64), jobs)
        database.note("workers", {"slots": 3, "lacking": {"x": 1}})
        with database.transaction() as db:
            refused = Answer("refused", 1, "why")
            database.settle(
                db, [(jobs[0].key, "blocked", refused)] + [(one.key, "refused", refused) for one in jobs[1:]]
            )
        found = read(path)
        assert (found.running, found.slots, found.lacking, found.settled) == (True, 3, {"x": 1}, True)
    found = read(path)
    assert (found.running, found.lacking) == (False, {})  # nobody asks workers now
    assert len(found.failures) == SHOWN
    assert found.failures[0][1:] == ("job 01", "refused", "why")  # what is blocked comes last
    assert as_plain(found)["states"]["refused"] == SHOWN + 1
    with pytest.raises(RequestError):
        read(tmp_path / "none.db")
