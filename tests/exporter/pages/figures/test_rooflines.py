"""A median stands right of both limits, which begin at 0."""

import pytest

from slide_export.benchmark.roofline import roofline
from slide_export.core.measurement import Peaks
from slide_export.pages.figures import rooflines
from slide_export.pages.figures.axis import linear

from .drawing import RUNS, parsed, places


def test_a_median_stands_right_of_its_limits() -> None:
    peaks = Peaks(2, {"float32": 200.0}, {"4": 50.0})
    found = [(one, limit) for one in RUNS if (limit := roofline(one, peaks))]
    root = parsed(rooflines.draw(found))
    products, reading, marks = places(root, "limit", "x1"), places(root, "tail", "x1"), places(root, "mark", "cx")
    assert len(marks) == len(found) == 3  # a peak in float16 was not measured
    axis = linear([0.0, *(one.p50_ms.value for one, _ in found)])
    assert products == pytest.approx([axis.at(4.49e9 / 200e9 * 1e3)] * 3, abs=0.01)
    assert all(line < mark for lines in (products, reading) for line, mark in zip(lines, marks, strict=True))
