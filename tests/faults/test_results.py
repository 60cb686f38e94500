"""A few seeded cases of the suite; `python -m tests.faults results` runs thousands."""

from pathlib import Path

import pytest

from . import results
from .results import _elements


@pytest.mark.parametrize("index", range(40))
def test_a_faulty_result_is_refused_in_one_line_or_shown_without_harm(index: int, tmp_path: Path) -> None:
    found = results.run(16, index, tmp_path)
    assert found.verdict in ("fine", "refused"), found.detail


def test_the_suite_tells_an_element_from_text_about_one() -> None:
    assert _elements('<svg aria-label="&quot;&gt;&lt;img src=x onerror=alert(1)&gt;">&lt;script&gt;</svg>') == ""
    assert _elements('<svg aria-label=""><img src=x onerror=alert(1)></svg>') == "img onerror"
