"""An error stands between its floor and its limit, good up to the limit, and not at all where it is not finite."""

from typing import Any

import pytest

from slide_export.pages.figures import parity
from tests.exporter.pages.synthetic import run, subject

from .drawing import EVIL, RUNS, kinds, parsed, places


def test_an_error_stands_between_its_floor_and_its_limit() -> None:
    root = parsed(parity.draw([one for one in RUNS if one.subject.parity]))
    floors, limits, errors = places(root, "tail", "x1"), places(root, "limit", "x1"), places(root, "mark", "cx")
    assert len(errors) == 3
    assert all(floor < error < limit for floor, error, limit in zip(floors, errors, limits, strict=True))


def drawn(error: Any, *, passed: bool = True, limit: Any = 8e-6) -> str:
    output = {"name": "logits", "max_abs": error, "floor_max": 1e-6, "limit_max": limit, "sqnr_db": 100.0}
    return parity.draw([run(subject("a", parity={"outputs": [output], "passed": passed, "top1": 1.0}), 10.0)])


@pytest.mark.parametrize(
    ("error", "passed", "kind"),
    [(8e-6, True, "good"), (8.1e-6, True, "bad"), (1e-6, False, "bad"), (0.0, True, "good")],
)
def test_an_error_is_good_up_to_its_limit_in_a_proof_that_passed(error: float, passed: bool, kind: str) -> None:
    assert kinds(parsed(drawn(error, passed=passed)), "mark") == [kind]


@pytest.mark.parametrize(("error", "limit"), [(None, 8e-6), (float("nan"), 8e-6), (1e-6, None), (float("inf"), 8e-6)])
def test_what_is_not_finite_has_no_mark(error: Any, limit: Any) -> None:
    markup = drawn(error, limit=limit)
    assert kinds(parsed(markup), "mark") == []
    assert "not finite" in markup


def test_a_run_without_a_proof_has_no_line() -> None:
    assert places(parsed(parity.draw([run(subject("a", parity=None), 10.0)])), "mark", "cx") == []


def test_names_are_escaped() -> None:
    markup = parity.draw([run(subject(EVIL, lowering=EVIL), 10.0)])
    assert "<script" not in markup
    assert EVIL in "".join(parsed(markup).itertext())
