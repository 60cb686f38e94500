"""What an attempt's end means for its job: done, again, elsewhere, alone, or given up. No state, no clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from slide_export.core.errors import CRASHED, OUT_OF_TIME, UNWRITABLE

from .job import Answer, Ended, Outcome, State
from .plan import Limits

STORE_WAITS_S = (1.0, 10.0, 60.0)
"""Before each new try where the artifact store failed; after the last the sweep stops."""


@dataclass(frozen=True)
class History:
    """What was tried of a job in this run.

    Attributes:
        died: workers that died with it.
        alone: whether it was the only job in flight when the last one did.
        elsewhere: workers that handed it back or crashed it.
    """

    died: tuple[str, ...] = ()
    crashes: int = 0
    store_failures: int = 0
    elsewhere: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Verdict:
    """What follows from an attempt's end.

    Attributes:
        outcome: of the attempt, for the database.
        state: the job's final one; None where it runs again.
        wait_s: before it does.
        suspect: it is to run with nothing beside it.
        handed_back: by a worker that cannot do it; another may.
    """

    outcome: Outcome
    state: State | None
    history: History
    answer: Answer | None = None
    worker: str = ""
    wait_s: float = 0.0
    suspect: bool = False
    handed_back: bool = False
    store_failed: bool = False


def judge(ended: Ended, history: History, limits: Limits, *, alone: bool) -> Verdict:
    """The verdict on one end.

    Args:
        alone: nothing else was in flight: what died then died of this job.
    """
    if ended.answer is not None:
        return _answered(Answer.of(ended.answer), history, limits)
    if ended.died is None:  # the scheduler forgot it: nobody's fault
        return Verdict("lost", None, history)
    history = replace(history, died=(*history.died, ended.died))
    if len(history.died) >= limits.deaths and alone:
        said = f"each worker that ran it died: {', '.join(history.died)}; {ended.message}".rstrip("; ")
        return Verdict("died", "poison", history, Answer("died", CRASHED, said), ended.died)
    return Verdict("died", None, history, worker=ended.died, suspect=True)


def _answered(answer: Answer, history: History, limits: Limits) -> Verdict:
    """The verdict on an attempt that came back, however it ended."""
    outcome, worker = answer.outcome, answer.worker
    if outcome == "store":
        history = replace(history, store_failures=history.store_failures + 1)
        tries = history.store_failures
        over = tries > len(STORE_WAITS_S)
        wait_s = 0.0 if over else STORE_WAITS_S[tries - 1]
        answer = replace(answer, exit_code=UNWRITABLE)
        return Verdict("failed", None, history, answer, worker, wait_s, store_failed=over)
    if outcome in ("absent", "mismatch"):
        history = replace(history, elsewhere=history.elsewhere | {worker})
        return Verdict("mismatch", None, history, answer, worker, handed_back=True)
    if outcome == "crashed":
        history = replace(history, crashes=history.crashes + 1, elsewhere=history.elsewhere | {worker})
        state: State | None = "poison" if history.crashes >= limits.crashes else None
        return Verdict("crashed", state, history, replace(answer, exit_code=CRASHED), worker)
    if outcome == "timeout":
        return Verdict("timeout", "failed", history, replace(answer, exit_code=OUT_OF_TIME), worker)
    if outcome == "lost":  # stopped by a wish to stop all: it runs again
        return Verdict("lost", None, history, answer, worker)
    final = cast("State", outcome)  # done, refused, failed, cancelled are states too
    return Verdict(cast("Outcome", outcome), final, history, answer, worker)
