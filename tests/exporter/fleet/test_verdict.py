"""The verdict on each end of an attempt, at the last one that is tried again and the first that is not."""

from dataclasses import replace

import pytest

from slide_export.core.errors import CRASHED, OUT_OF_TIME, UNWRITABLE
from slide_export.fleet.job import Answer, Ended, Told
from slide_export.fleet.plan import Limits
from slide_export.fleet.verdict import STORE_WAITS_S, History, Verdict, judge

LIMITS = Limits(deaths=3, crashes=2)
FRESH = History()


def answered(outcome: Told, history: History = FRESH) -> Verdict:
    answer = Answer(outcome, 1, "what it said", worker="w1")
    return judge(Ended(1, "a", answer.plain()), history, LIMITS, alone=False)


@pytest.mark.parametrize("outcome", ["done", "refused", "failed", "cancelled"])
def test_an_end_that_is_a_state_too_is_final(outcome: Told) -> None:
    found = answered(outcome)
    assert (found.outcome, found.state, found.history) == (outcome, outcome, FRESH)
    assert not (found.suspect or found.handed_back or found.store_failed or found.wait_s)


def test_a_time_out_is_a_failure_that_may_succeed_again() -> None:
    found = answered("timeout")
    assert (found.outcome, found.state) == ("timeout", "failed")
    assert found.answer is not None
    assert found.answer.exit_code == OUT_OF_TIME


def test_what_was_stopped_or_forgotten_runs_again_for_nothing() -> None:
    assert answered("lost").state is None
    forgotten = judge(Ended(1, "a"), FRESH, LIMITS, alone=True)
    assert (forgotten.outcome, forgotten.state, forgotten.history) == ("lost", None, FRESH)


@pytest.mark.parametrize(("failures", "wait_s", "over"), [(0, 1.0, False), (2, 60.0, False), (3, 0.0, True)])
def test_a_store_that_fails_is_asked_after_each_wait_and_then_no_more(failures: int, wait_s: float, over: bool) -> None:
    assert STORE_WAITS_S == (1.0, 10.0, 60.0)
    found = answered("store", History(store_failures=failures))
    assert (found.outcome, found.state, found.wait_s, found.store_failed) == ("failed", None, wait_s, over)
    assert found.history.store_failures == failures + 1
    assert found.answer is not None
    assert found.answer.exit_code == UNWRITABLE


@pytest.mark.parametrize("outcome", ["absent", "mismatch"])
def test_a_worker_that_cannot_is_avoided_and_no_fault_is_counted(outcome: Told) -> None:
    found = answered(outcome, History(elsewhere=frozenset({"w0"})))
    assert (found.outcome, found.state, found.handed_back) == ("mismatch", None, True)
    assert found.history == History(elsewhere=frozenset({"w0", "w1"}))


@pytest.mark.parametrize(("crashes", "state"), [(0, None), (1, "poison"), (2, "poison")])
def test_crashes_up_to_the_limit_are_tried_elsewhere(crashes: int, state: str | None) -> None:
    found = answered("crashed", History(crashes=crashes))
    assert (found.outcome, found.state) == ("crashed", state)
    assert (found.history.crashes, found.history.elsewhere) == (crashes + 1, frozenset({"w1"}))
    assert found.answer is not None
    assert found.answer.exit_code == CRASHED


@pytest.mark.parametrize(
    ("died", "alone", "state"),
    [(("w1",), True, None), (("w1", "w2"), False, None), (("w1", "w2"), True, "poison"), (("w1",) * 5, True, "poison")],
)
def test_deaths_are_poison_from_the_limit_on_with_nothing_beside_it(
    died: tuple[str, ...], alone: bool, state: str | None
) -> None:
    found = judge(Ended(1, "a", died="w3", message="killed"), History(died=died), LIMITS, alone=alone)
    assert (found.outcome, found.state, found.worker) == ("died", state, "w3")
    assert found.suspect is (state is None)
    assert found.history == replace(FRESH, died=(*died, "w3"))


def test_a_poison_job_tells_its_workers_and_the_last_words() -> None:
    history = History(died=("w1", "w2"))
    found = judge(Ended(1, "a", died="w3", message="killed"), history, LIMITS, alone=True).answer
    assert found is not None
    assert (found.exit_code, found.message) == (CRASHED, "each worker that ran it died: w1, w2, w3; killed")
    silent = judge(Ended(1, "a", died="w3"), history, LIMITS, alone=True).answer
    assert silent is not None
    assert silent.message.endswith("w1, w2, w3")
