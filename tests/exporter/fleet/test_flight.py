"""No more fly than there are slots, and a suspect flies alone: in its class, at last with nothing beside it at all."""

import time

from slide_export.fleet.engine import Capacity
from slide_export.fleet.flight import Airspace, Flying
from slide_export.fleet.plan import Limits
from slide_export.fleet.ready import ReadyJobs
from slide_export.fleet.verdict import History

BOTH = Capacity(4, {"small": 3, "large": 2})


def ready(small: int = 4, large: int = 4) -> ReadyJobs:
    names = {f"s{index}": "small" for index in range(small)} | {f"l{index}": "large" for index in range(large)}
    return ReadyJobs(names, {})


def chosen(space: Airspace, jobs: ReadyJobs, capacity: Capacity = BOTH) -> list[tuple[str, bool]]:
    return [(key, alone) for key, _, alone in space.choose(jobs, capacity)]


def keys(space: Airspace, jobs: ReadyJobs, capacity: Capacity = BOTH) -> list[str]:
    return [key for key, _ in chosen(space, jobs, capacity)]


def test_as_many_fly_as_there_are_slots_in_all_and_in_each_class() -> None:
    assert keys(Airspace(Limits()), ready()) == ["s0", "s1", "s2", "l0"]
    assert keys(Airspace(Limits()), ready(), Capacity(9, {"small": 1, "large": 1})) == ["s0", "l0"]
    assert keys(Airspace(Limits()), ready(), Capacity(9, {"large": 1})) == ["l0"]
    assert keys(Airspace(Limits(in_flight=2)), ready()) == ["s0", "s1"]


def test_those_in_the_air_take_their_slots() -> None:
    space = Airspace(Limits(), {1: Flying(1, "x", "small"), 2: Flying(2, "y", "small")})
    assert keys(space, ready()) == ["s0", "l0"]
    space.flying |= {3: Flying(3, "z", "large"), 4: Flying(4, "v", "large")}
    assert keys(space, ready()) == []


def test_nothing_follows_one_that_flies_alone() -> None:
    space = Airspace(Limits(), {1: Flying(1, "x", "small", alone=True)})
    assert chosen(space, ready()) == []


def suspected(deaths: int, *flying: Flying) -> Airspace:
    space = Airspace(Limits(deaths=3), {one.number: one for one in flying}, histories={"x": History(("w",) * deaths)})
    space.suspects.append(("x", "small"))
    return space


def test_a_suspect_flies_with_none_of_its_class() -> None:
    assert chosen(suspected(1), ready(large=1)) == [("x", False), ("l0", False)]
    waiting = suspected(1, Flying(1, "s9", "small"))
    assert keys(waiting, ready(large=1)) == ["l0"]  # its class is held until it is empty
    assert list(waiting.suspects) == [("x", "small")]
    assert keys(suspected(1, Flying(1, "l9", "large")), ready(large=0)) == ["x"]


def test_before_the_last_death_it_flies_with_nothing_at_all() -> None:
    assert chosen(suspected(2), ready()) == [("x", True)]
    assert chosen(suspected(2, Flying(1, "l9", "large")), ready()) == []


def test_one_suspect_is_tried_at_a_time() -> None:
    space = suspected(1, Flying(1, "y", "large"))
    space.histories["y"] = History(("w",))
    assert keys(space, ready()) == []  # both classes are held: one waits, one is on trial
    space.histories["y"] = History(crashes=1)
    assert keys(space, ready(large=0)) == ["x"]


def test_a_suspect_waits_for_a_worker_of_its_class() -> None:
    assert keys(suspected(1), ready(), Capacity(4, {"large": 1})) == ["l0"]
    assert keys(suspected(1), ready(), Capacity(4, {"large": 1, "small": 0})) == ["l0"]


def test_a_delayed_job_is_due_once() -> None:
    now = time.monotonic()
    space = Airspace(Limits(), delayed=[(now - 1, "a", "small"), (now + 60, "b", "small")])
    assert (space.due(), space.due(), [key for _, key, _ in space.delayed]) == (["a"], [], ["b"])


def test_the_last_to_land_was_alone() -> None:
    space = Airspace(Limits(), {1: Flying(1, "x", "small"), 2: Flying(2, "y", "small")})
    assert space.land(1) == (Flying(1, "x", "small"), False)
    assert space.land(2) == (Flying(2, "y", "small"), True)
    assert space.land(2) == (None, False)
