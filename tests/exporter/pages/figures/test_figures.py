"""Marks stand where the numbers are, every run has its own, and names are escaped."""

import re
from xml.etree import ElementTree

import pytest

from slide_export.benchmark.roofline import roofline
from slide_export.core.measurement import Peaks
from slide_export.pages.figures import latency, parity, profile, ratios, rooflines, tradeoff
from slide_export.pages.figures.axis import linear
from tests.exporter.pages.synthetic import profile as profiled
from tests.exporter.pages.synthetic import result, run, session, subject

RUNS = session().runs
EVIL = '<script>alert("x")</script>&'


def parsed(markup: str) -> ElementTree.Element:
    """The the markup as XML, which inline SVG has to be."""
    quoted = re.sub(r"class=(\w+)>", r'class="\1">', markup)
    return ElementTree.fromstring(f"<div>{quoted}</div>")


def places(root: ElementTree.Element, kind: str, name: str) -> list[float]:
    return [float(mark.attrib[name].rstrip("%")) for mark in root.iter() if mark.get("class", "").startswith(kind)]


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


def test_a_ratio_stands_on_its_side_of_1() -> None:
    root = parsed(ratios.draw(session(), session().comparisons))
    unity, marks = places(root, "unity", "x1"), places(root, "mark", "cx")
    assert [mark > one for mark, one in zip(marks, unity, strict=True)] == [True, True, False, True]


def test_an_error_stands_between_its_floor_and_its_limit() -> None:
    root = parsed(parity.draw([one for one in RUNS if one.subject.parity]))
    floors, limits, errors = places(root, "tail", "x1"), places(root, "limit", "x1"), places(root, "mark", "cx")
    assert len(errors) == 3
    assert all(floor < error < limit for floor, error, limit in zip(floors, errors, limits, strict=True))


def test_a_median_stands_right_of_its_limits() -> None:
    peaks = Peaks(2, {"float32": 200.0}, {"4": 50.0})
    found = [(one, limit) for one in RUNS if (limit := roofline(one, peaks))]
    root = parsed(rooflines.draw(found))
    products, reading, marks = places(root, "limit", "x1"), places(root, "tail", "x1"), places(root, "mark", "cx")
    assert len(marks) == len(found) == 3  # a peak in float16 was not measured
    axis = linear([0.0, *(one.p50_ms.value for one, _ in found)])
    assert products == pytest.approx([axis.at(4.49e9 / 200e9 * 1e3)] * 3, abs=0.01)
    assert all(line < mark for lines in (products, reading) for line, mark in zip(lines, marks, strict=True))


def test_bars_add_up_to_their_block() -> None:
    one = run(subject("a"), 10.0, profile=profiled())
    widths = [float(rect.attrib["width"].rstrip("%")) for rect in parsed(profile.draw(one, 4.05)).iter("rect")]
    assert sum(widths) == pytest.approx(100 * sum(line.ms for line in one.profile) / 4.05, rel=1e-3)


def test_points_are_numbered_and_named() -> None:
    points = [tradeoff.Point(58.0, 81.3, "swin", 0, True), tradeoff.Point(61.0, 82.3, EVIL, 1, True)]
    root = parsed(tradeoff.draw(points, "%", "accuracy", from_zero=False))
    left, right = places(root, "point", "cx")
    high, low = places(root, "point", "cy")
    assert left < right
    assert high > low  # y grows downwards
    assert [item.text.strip() for item in root.iter("li") if item.text] == ["swin", EVIL]


def test_sizes_that_hardly_differ_look_so() -> None:
    points = [tradeoff.Point(58.0, 107.91, "a", 0, False), tradeoff.Point(61.0, 107.94, "b", 0, False)]
    high, low = places(parsed(tradeoff.draw(points, "MiB", "size", from_zero=True)), "point", "cy")
    assert high == pytest.approx(low, abs=0.2)


def test_no_level_is_beyond_a_hundred_percent_and_no_point_on_their_names() -> None:
    points = [tradeoff.Point(15.0, 99.6, "a", 0, False), tradeoff.Point(33.0, 99.6, "b", 0, False)]
    root = parsed(tradeoff.draw(points, "%", "accuracy", from_zero=False))
    levels = [float(one.text.partition(" ")[0]) for one in root.iter("text") if one.text and one.text.endswith(" %")]
    assert max(levels) == 100.0
    assert len(levels) > 2
    assert min(places(root, "point", "cx")) > 5.0  # percent of the width


@pytest.mark.parametrize("draw", [latency.draw, parity.draw])
def test_names_are_escaped(draw: object) -> None:
    markup = draw([run(subject(EVIL, lowering=EVIL), 10.0)])  # type: ignore[operator]
    assert "<script" not in markup
    assert EVIL in "".join(parsed(markup).itertext())


def test_a_ratio_s_names_are_escaped() -> None:
    evil = run(subject(EVIL), 10.0)
    assert "<script" not in ratios.draw(result((evil, evil)), session().comparisons[:1])
