"""Every call stands where it belongs, up to as many as can be seen; what is far out is told and squeezes nothing."""

import re

import pytest

from slide_export.pages.figures import latency
from slide_export.pages.figures.axis import linear
from slide_export.pages.figures.latency import MAX_DOTS, MAX_OVER_P99
from tests.exporter.pages.synthetic import run, subject

from .drawing import EVIL, RUNS, parsed, places


def test_each_run_has_its_median_where_it_belongs_and_all_its_calls() -> None:
    root = parsed(latency.draw(RUNS))
    calls = [call for one in RUNS for calls in one.rounds_ms for call in calls]
    axis = linear(calls)
    assert places(root, "median", "x1") == pytest.approx([axis.at(one.p50_ms.value) for one in RUNS], abs=0.01)
    dots = [path.attrib["d"].count("M") for path in root.iter("path")]
    assert dots == [len(one.rounds_ms) * len(one.rounds_ms[0]) for one in RUNS]


def test_a_call_far_out_is_told_and_squeezes_nothing() -> None:
    far = run(subject("a"), 10.0)
    far = run(subject("a"), 10.0, rounds_ms=((*far.rounds_ms[0], 900.0), *far.rounds_ms[1:]))
    assert "1 beyond the axis, up to 900" in latency.draw([far])
    assert "900" not in re.sub(r"<[^>]*>", "", latency.draw([far])).replace("up to 900", "")


@pytest.mark.parametrize(("calls", "drawn"), [(MAX_DOTS, MAX_DOTS), (MAX_DOTS + 1, MAX_DOTS // 2 + 1), (1, 1)])
def test_dots_are_thinned_above_as_many_as_can_be_seen(calls: int, drawn: int) -> None:
    one = run(subject("a"), 10.0, rounds_ms=(tuple(10.0 for _ in range(calls)),))
    (path,) = parsed(latency.draw([one])).iter("path")
    assert path.attrib["d"].count("M") == drawn


@pytest.mark.parametrize(("share", "near"), [(MAX_OVER_P99, True), (MAX_OVER_P99 + 0.01, False)])
def test_calls_beyond_the_largest_p99_by_a_quarter_do_not_stretch_the_axis(share: float, near: bool) -> None:
    plain = run(subject("a"), 10.0)
    call = share * plain.p99_ms.value
    axis = latency.axis_of([run(subject("a"), 10.0, rounds_ms=((*plain.rounds_ms[0], call),))])
    assert (axis.high > latency.axis_of([plain]).high) is near


def test_rounds_go_from_top_to_bottom() -> None:
    one = run(subject("a"), 10.0, rounds_ms=((10.0,), (10.0,), (10.0,), (10.0,)))
    (path,) = parsed(latency.draw([one])).iter("path")
    assert re.findall(r" ([0-9.]+)h0", path.attrib["d"]) == ["8.0", "16.0", "24.0", "32.0"]


def test_names_are_escaped() -> None:
    markup = latency.draw([run(subject(EVIL, lowering=EVIL), 10.0)])
    assert "<script" not in markup
    assert EVIL in "".join(parsed(markup).itertext())
