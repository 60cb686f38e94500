"""A job's key is of what it does, whatever the order it is written in; an answer crosses a process unchanged."""

import json
import math
from typing import Any

import pytest

from slide_export.fleet.job import FINAL, STATES, UNDONE, Answer, Job

SAID: dict[str, Any] = {
    "options": {"batch": 1, "form": "taps"},
    "inputs": {"checkpoint": "a" * 64},
    "environment": {"torch": "2"},
}


def made(stage: str = "export", version: int = 1, subject: str = "digits", **changes: Any) -> Job:
    return Job.of(stage, version, subject, {"slot": 1, "memory_gib": 4}, **{**SAID, **changes})


def test_a_key_does_not_depend_on_the_order_of_what_is_said_nor_on_what_the_job_is_called() -> None:
    turned = {name: dict(reversed(value.items())) for name, value in reversed(SAID.items())}
    assert made(**turned) == made()
    assert made(subject="other").key == made().key
    assert made(needs=("b" * 64,)).key == made().key
    assert json.loads(made().spec) == SAID
    assert made().worker_class == '{"memory_gib":4,"slot":1}'


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "verify"},
        {"version": 2},
        {"options": {"batch": 2, "form": "taps"}},
        {"inputs": {"checkpoint": "b" * 64}},
        {"environment": {"torch": "3"}},
        {"options": SAID["inputs"], "inputs": SAID["options"]},
    ],
)
def test_a_job_that_does_something_else_has_another_key(changes: dict[str, Any]) -> None:
    assert made(**changes).key != made().key


def test_an_answer_crosses_a_process_as_json() -> None:
    answer = Answer(
        "done",
        output="a" * 64,
        kind="bundle",
        bytes=3,
        result={"n": [1, 2]},
        measures={"p50_ms": (1.0, 0.5, None)},
        seconds=2.5,
        peak_mib=64.0,
        worker="w",
        differs=("result",),
    )
    assert Answer.of(json.loads(json.dumps(answer.plain(), allow_nan=False))) == answer


def test_a_number_that_is_none_is_null() -> None:
    answer = Answer("done", result={"drop": math.nan}, measures={"db": (math.inf, None, -math.inf)})
    told = json.loads(json.dumps(answer.plain(), allow_nan=False))
    assert (told["result"], told["measures"]) == ({"drop": None}, {"db": [None, None, None]})


def test_every_final_state_but_done_has_no_output() -> None:
    assert set(STATES) - FINAL == {"planned", "running"}
    assert {"done"} == FINAL - UNDONE
