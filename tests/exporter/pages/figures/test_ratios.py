"""A ratio stands on its side of 1, in the colour of its verdict, around a band of what counts as the same."""

import pytest

from slide_export.pages.figures import ratios
from tests.exporter.pages.synthetic import result, run, session, subject

from .drawing import EVIL, kinds, parsed, places


def test_a_ratio_stands_on_its_side_of_1() -> None:
    root = parsed(ratios.draw(session(), session().comparisons))
    unity, marks = places(root, "unity", "x1"), places(root, "mark", "cx")
    assert [mark > one for mark, one in zip(marks, unity, strict=True)] == [True, True, False, True]


def test_marks_have_the_colour_of_their_verdict() -> None:
    told = session().comparisons
    colours = {"faster": "good", "slower": "bad"}
    expected = [colours.get(one.verdict, "open") for one in told]
    assert kinds(parsed(ratios.draw(session(), told)), "mark") == expected


def test_the_band_is_what_counts_as_the_same_on_both_sides() -> None:
    root = parsed(ratios.draw(session(), session().comparisons))
    (band, *_), (unity, *_) = ([r for r in root.iter("rect") if r.get("class") == "band"], places(root, "unity", "x1"))
    left, width = (float(band.attrib[name].rstrip("%")) for name in ("x", "width"))
    assert left + width / 2 == pytest.approx(unity, abs=0.01)


def test_a_ratio_s_names_are_escaped() -> None:
    evil = run(subject(EVIL), 10.0)
    assert "<script" not in ratios.draw(result((evil, evil)), session().comparisons[:1])
