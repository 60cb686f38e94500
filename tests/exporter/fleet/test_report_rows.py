"""Which artifacts are fit for a choice, what a sitting says of its machine, and which others beat one."""

from typing import Any

import pytest

from slide_export.fleet.pareto import Interval
from slide_export.fleet.report_rows import NUMBERS, ArtifactRow, Run, _device, _doubts, _judged


def row(name: str = "a", size_mib: float | None = 1.0, **fields: Any) -> ArtifactRow:
    return ArtifactRow(name, name, fields.pop("state", "done"), "", "onnx", "fp32", size_mib, **fields)


@pytest.mark.parametrize(
    ("fields", "fit"),
    [
        ({}, True),
        ({"accuracy_state": "done", "verified": ["done", "done"]}, True),
        ({"state": "refused"}, False),
        ({"accuracy_state": "refused"}, False),
        ({"accuracy_state": "planned"}, False),
        ({"verified": ["done", "failed"]}, False),
    ],
)
def test_what_was_asked_of_an_artifact_has_to_have_come_true(fields: dict[str, Any], fit: bool) -> None:
    assert row(**fields).fit is fit
    assert Run(row(**fields), Interval(1, 1, 1)).on_front is fit


def test_a_loss_is_that_of_the_evaluation() -> None:
    assert row().loss is None
    assert row(accuracy={"drop": 0.5}).loss == 0.5
    assert row(accuracy={}).loss is None


def run(artifact: ArtifactRow, ms: float) -> Run:
    return Run(artifact, Interval(ms, ms * 0.99, ms * 1.01))


def test_what_is_slower_and_larger_is_beaten_by_the_first_that_is_neither() -> None:
    fast, slow, small = row("fast", 2.0), row("slow", 3.0), row("small", 1.0)
    found = _judged([run(slow, 9.0), run(small, 7.0), run(fast, 5.0)])
    assert [one.artifact.subject for one in found] == ["fast", "small", "slow"]
    assert [one.dominated_by and one.dominated_by.subject for one in found] == [None, None, "fast"]


def test_what_is_not_fit_beats_nothing_and_is_on_no_front() -> None:
    broken, unknown, slow = row("broken", 0.1, state="refused"), row("unknown", None), row("slow", 3.0)
    found = _judged([run(broken, 1.0), run(unknown, 2.0), run(slow, 9.0)])
    assert {one.artifact.subject: one.on_front for one in found} == {"broken": False, "unknown": True, "slow": True}
    assert all(one.dominated_by is None for one in found)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"device": "pi5", "cpu": "Cortex-A76"}, "pi5, Cortex-A76"),
        ({"device": "same", "cpu": "same"}, "same"),
        ({"device": "", "cpu": "x86"}, "x86"),
        ({}, "a machine that tells nothing of itself"),
    ],
)
def test_a_machine_is_called_as_it_calls_itself(environment: dict[str, str], said: str) -> None:
    assert _device({"environment": environment}) == said
    assert _doubts({"environment": {**environment, "warnings": ["hot"]}}) == ("hot",)
    assert _doubts({}) == ()


def test_numbers_in_words_tell_no_failures_apart() -> None:
    assert NUMBERS.sub("#", "12 of 3.5 GiB, v1.2.3") == "# of # GiB, v#.#"
