"""A page's parts: anchors, marks of sentences, tables that are folded from a length on, numbers to the right."""

import pytest

from slide_export.pages.document import Document, Heading, Section, Sentence, Statements, Table
from slide_export.pages.html import MARKS, MAX_OPEN_ROWS, _anchor, _block, write


def table(rows: int, left: int = 1) -> str:
    return _block(Table("caption", ("a", "b"), (("x", "1"),) * rows, left))


@pytest.mark.parametrize(("rows", "folded"), [(0, False), (MAX_OPEN_ROWS, False), (MAX_OPEN_ROWS + 1, True)])
def test_a_long_table_is_folded(rows: int, folded: bool) -> None:
    assert ("<details><summary>caption</summary>" in table(rows)) is folded
    assert table(rows).count("<tr>") == rows + 1


@pytest.mark.parametrize(("left", "numbers"), [(0, 2), (1, 1), (2, 0)])
def test_columns_behind_the_words_are_numbers(left: int, numbers: int) -> None:
    assert table(1, left).count(' class="number"') == 2 * numbers  # of the head and of the row


@pytest.mark.parametrize(
    ("title", "anchor"), [("What to ship", "what-to-ship"), ("p50 & p90!", "p50---p90"), ("Größe", "größe")]
)
def test_a_section_is_linked_by_its_title(title: str, anchor: str) -> None:
    section = Section(title, (Heading("<b>"),))
    page = write(Document("t", "s", (section,)))
    assert _anchor(section) == anchor
    assert f'<a href="#{anchor}">' in page
    assert f'<section id="{anchor}">' in page
    assert "<h3>&lt;b&gt;</h3>" in page


@pytest.mark.parametrize("tone", MARKS)
def test_a_sentence_has_the_mark_of_its_tone(tone: str) -> None:
    markup = _block(Statements((Sentence("lead", "words", tone),)))  # type: ignore[arg-type]
    assert f'<li class="{tone}">' in markup
    assert f">{MARKS[tone]}</i><b>lead:</b> words" in markup
