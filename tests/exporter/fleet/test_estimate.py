"""An estimate in words: what is done, what is left, and a time where every stage was done before."""

import pytest

from slide_export.fleet.estimate import Estimate, as_plain, as_text

FOUND = Estimate({"export": (4, 1), "verify": (1, 1)}, {'{"slot":1}': 3}, 90.0, 3 * 2**20)


def test_a_known_time_is_in_minutes_and_bytes_in_mebibytes() -> None:
    assert as_text(FOUND).splitlines() == [
        "export      4 jobs, 1 done",
        "verify      1 job, 1 done",
        '3 jobs for {"slot":1}',
        "about 1.5 min on one slot, 3.0 MiB in the store",
    ]


@pytest.mark.parametrize(("seconds", "size"), [(None, None), (None, 1.0), (1.0, None)])
def test_without_a_stage_that_was_done_there_is_none(seconds: float | None, size: float | None) -> None:
    said = as_text(Estimate({"export": (1, 0)}, {}, seconds, size))
    assert said.endswith("no time is known yet: no job of some stage was done before")


def test_nothing_left_takes_no_time() -> None:
    assert "about 0.0 min" in as_text(Estimate({}, {}, 0.0, 0.0))
    assert as_plain(FOUND)["stages"] == {"export": {"jobs": 4, "done": 1}, "verify": {"jobs": 1, "done": 1}}
