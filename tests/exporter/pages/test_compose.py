"""What a page says beside its figures."""

from dataclasses import replace

import pytest

from slide_export.core.measurement import Interval
from slide_export.pages.compose import compose
from slide_export.pages.tables import settings
from tests.exporter.pages.synthetic import result, run, subject


@pytest.mark.parametrize(("spread", "cut"), [(1.0, True), (100.0, False)], ids=["narrow", "from zero"])
def test_a_caption_says_that_the_axis_is_cut_where_it_is(spread: float, cut: bool) -> None:
    timed = run(subject("swin_tiny"), 100.0)
    calls = tuple(
        tuple(call / spread if turn == 0 else call for call in row) for turn, row in enumerate(timed.rounds_ms)
    )
    timed = replace(timed, rounds_ms=calls, p50_ms=Interval(100.0, 100.0 / spread, 101.0))
    assert ("The axis does not begin at 0." in str(compose([result((timed,))], {}))) == cut


def test_settings_are_told_by_name_and_value() -> None:
    timed = run(subject("swin_tiny"), 1.0, settings={"config": {"INFERENCE_PRECISION_HINT": "f32"}, "threads": 2})
    (row,) = settings([result((timed,))]).rows
    assert row[-1] == "INFERENCE_PRECISION_HINT=f32, threads=2"
