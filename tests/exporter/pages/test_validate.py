"""A result whose parts do not fit is refused before a page is made of it."""

from dataclasses import replace

import pytest

from slide_export.core.errors import BundleError
from slide_export.core.measurement import BenchmarkResult, Interval, ModuleTime
from slide_export.pages.validate import refuse_unsound
from tests.exporter.pages.synthetic import compared, result, run, sitting, subject

PLAIN = run(subject("a"), 10.0)
UNSOUND = {
    "no run": result(()),
    "a comparison with run 3": result((PLAIN,), (compared(3, 0, 1.0, "same"),)),
    "a ratio that is not above 0": result((PLAIN, PLAIN), (compared(1, 0, 0.001, "same"),)),
    "a round without a call of a": result((replace(PLAIN, rounds_ms=((1.0,), ())),)),
    "a time that is not above 0 of a": result((replace(PLAIN, p99_ms=Interval(float("nan"), 0.0, 0.0)),)),
    "a profile of the unknown kind 'magic' of a": result(
        (replace(PLAIN, profile=(ModuleTime("", "", "magic", 1.0),)),)
    ),
    "a proof without its numbers of a": result((run(subject("a", parity={"passed": True, "outputs": [{}]}), 10.0),)),
}


@pytest.mark.parametrize(("problem", "unsound"), UNSOUND.items(), ids=list(UNSOUND))
def test_what_does_not_fit_is_named(problem: str, unsound: BenchmarkResult) -> None:
    with pytest.raises(BundleError, match=problem):
        refuse_unsound(unsound, "x.json")


def test_a_sound_result_passes() -> None:
    refuse_unsound(sitting(), "x.json")
