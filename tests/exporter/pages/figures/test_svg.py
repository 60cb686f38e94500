"""Elements of drawings: no negative widths, a unit behind the last tick, words escaped."""

import pytest

from slide_export.pages.figures.axis import linear
from slide_export.pages.figures.svg import box, canvas, row, ruler, text

from .drawing import EVIL, parsed


@pytest.mark.parametrize(
    ("left", "right", "width"), [(10, 30, "20%"), (30, 30, "0%"), (30, 10, "0%"), (1, 1.33336, "0.333%")]
)
def test_a_rectangle_has_no_negative_width(left: float, right: float, width: str) -> None:
    (rect,) = parsed(box(left, right, 0, 5, "bar")).iter("rect")
    assert rect.attrib["width"] == width


def test_a_ruler_has_the_unit_behind_its_last_tick_alone() -> None:
    words = [one.text for one in parsed(ruler(linear([0.0, 10.0]), "ms")).iter("text")]
    anchors = [one.attrib["text-anchor"] for one in parsed(ruler(linear([0.0, 10.0]), "ms")).iter("text")]
    assert words[-1] == "10 ms"
    assert all(word and "ms" not in word for word in words[:-1])
    assert (anchors[0], anchors[-1], set(anchors[1:-1])) == ("start", "end", {"middle"})


@pytest.mark.parametrize(("shift", "moved"), [(0, False), (3, True), (-3, True)])
def test_a_text_is_moved_where_it_is_asked_to(shift: int, moved: bool) -> None:
    assert ("dx=" in text(1, 2, "word", "tick", shift=shift)) is moved


def test_words_are_escaped_wherever_they_stand() -> None:
    for markup in (canvas(5, (), EVIL), row(EVIL, EVIL, EVIL, ""), text(0, 0, EVIL, "tick")):
        assert "<script" not in markup
    assert "<small>" not in row("a", "", "b", "")
