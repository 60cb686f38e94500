"""What the manual's build puts in the place of marks: tables of RESULTS and figures of them."""

import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

sys.path.insert(0, str(ROOT / "docs"))

import command_line
import diagrams
import figures
import hooks
import results

TEXT = """# Measured

## One

| form | ms |
|---|---|
| `taps` | **3.5** |
| `shifts` | 12 to 14 |

## Two, without a table
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "RESULTS.md").write_text(TEXT)
    return tmp_path / "RESULTS.md"


def test_a_table_is_found_under_its_heading(file: Path) -> None:
    found = results.table("One", path=file)
    assert found.column("form") == ("taps", "shifts")
    assert found.numbers("ms") == (3.5, 12.0)
    assert found.markdown() == "| form | ms |\n| --- | --- |\n| `taps` | **3.5** |\n| `shifts` | 12 to 14 |"


@pytest.mark.parametrize(("heading", "first"), [("Three", ""), ("Two", ""), ("One", "module")])
def test_what_is_not_measured_is_refused(file: Path, heading: str, first: str) -> None:
    with pytest.raises(KeyError, match=heading):
        results.table(heading, first, file)


def test_bars_are_as_long_as_their_values() -> None:
    drawn = figures.draw(figures.Bars("two", ("a", "b"), {"ms": (1.0, 4.0)}, " ms"))
    room = figures.WIDTH - figures.LABEL - figures.VALUE
    assert f'width="{room:.1f}"' in drawn
    assert f'width="{room / 4:.1f}"' in drawn
    assert ">4 ms<" in drawn


@pytest.mark.parametrize("name", figures.FIGURES)
def test_every_figure_has_a_value_for_each_label(name: str) -> None:
    chart = figures.FIGURES[name]()
    assert chart.labels
    assert {len(values) for values in chart.series.values()} == {len(chart.labels)}
    assert all(value > 0 for value in next(iter(chart.series.values())))


@pytest.mark.parametrize("name", diagrams.DIAGRAMS)
def test_texts_of_a_diagram_fit_into_their_boxes(name: str) -> None:
    diagram = diagrams.DIAGRAMS[name]
    for _, boxes in diagram.lanes:
        room = diagrams.width(len(boxes)) / diagrams.LETTER
        assert all(len(line) <= room for box in boxes for line in box.split("\n"))
        assert all(box.count("\n") < 2 for box in boxes)
    drawn = diagrams.draw(diagram)
    assert drawn.count("<rect") == sum(len(boxes) for _, boxes in diagram.lanes)
    assert drawn.count('class="arrow"') == sum(len(boxes) - 1 for _, boxes in diagram.lanes)


def test_every_system_has_its_diagram_in_the_manual() -> None:
    text = (ROOT / "docs/manual/reference/models.md").read_text()
    assert all(f"{{{{ diagram {name} }}}}" in text for name in diagrams.DIAGRAMS)


def test_a_mark_that_gives_nothing_stays_and_warns(caplog: pytest.LogCaptureFixture) -> None:
    page = type("Page", (), {"file": type("File", (), {"src_path": "page.md"})})
    assert hooks.on_page_markdown("see {{ figure nothing }}", page=page) == "see {{ figure nothing }}"
    assert "page.md" in caplog.text


def test_the_command_line_is_clicks() -> None:
    text = command_line.command_line()
    assert "## targets (also `doctor`)" in text
    assert "--lowering" not in text  # hidden: refused by its new name
    assert "| `--image-count INTEGER RANGE` |" in text or "| `--image-count" in text
