"""Bars add up to their block, kind by kind; what takes no time is not drawn."""

import pytest

from slide_export.core.measurement import ModuleTime
from slide_export.pages.figures import profile
from slide_export.pages.figures.profile import OUTSIDE
from tests.exporter.pages.synthetic import profile as profiled
from tests.exporter.pages.synthetic import run, subject

from .drawing import parsed


def test_bars_add_up_to_their_block() -> None:
    one = run(subject("a"), 10.0, profile=profiled())
    widths = [float(rect.attrib["width"].rstrip("%")) for rect in parsed(profile.draw(one, 4.05)).iter("rect")]
    assert sum(widths) == pytest.approx(100 * sum(line.ms for line in one.profile) / 4.05, rel=1e-3)


def test_what_no_module_tells_has_a_name_and_no_time_no_bar() -> None:
    lines = (ModuleTime("", "Reorder", "layout", 1.0), ModuleTime("head", "FullyConnected", "gemm", 3.0))
    one = run(subject("a"), 10.0, profile=lines)
    assert set(profile.blocks(one)) == {OUTSIDE, "head"}
    assert profile.blocks(one)["head"]["softmax"] == 0.0
    root = parsed(profile.draw(one, 4.0))
    assert [rect.attrib["width"] for rect in root.iter("rect")] == ["25%", "75%"]
    assert "75%" in profile.draw(one, 4.0)  # of the legend
