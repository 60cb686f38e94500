"""Points are numbered and named, hollow where they were not measured, and never under the names of levels."""

import pytest

from slide_export.pages.figures import tradeoff

from .drawing import EVIL, kinds, parsed, places


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


@pytest.mark.parametrize(("hollow", "kind"), [(True, "series-2 hollow"), (False, "series-2")])
def test_a_point_has_its_series_and_is_hollow_where_others_published_it(hollow: bool, kind: str) -> None:
    points = [tradeoff.Point(1.0, 2.0, "a", 2, hollow), tradeoff.Point(3.0, 4.0, "b", 2, hollow)]
    assert kinds(parsed(tradeoff.draw(points, "MiB", "size", from_zero=True)), "point") == [kind, kind]


@pytest.mark.parametrize(("values", "left"), [([10.0, 60.0], 6.0), ([1.0, 101.0], 0.0), ([5.0, 5.0], 5.0)])
def test_latency_begins_a_little_before_the_first_point_and_not_below_0(values: list[float], left: float) -> None:
    assert tradeoff._left_of(values) == pytest.approx(left)
