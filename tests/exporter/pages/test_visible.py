"""What does not print is written as an escape, and what is longer than any sentence of ours is cut."""

import pytest

from slide_export.core.text import SENTENCE
from slide_export.pages.visible import escaped, visible


@pytest.mark.parametrize(
    ("text", "shown"), [("a\nb", "a\\nb"), ("\u202eabc", "\\u202eabc"), ("größe", "größe"), ("a\x00", "a\\x00")]
)
def test_what_does_not_print_is_an_escape(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_sentence_is_whole_and_more_is_cut() -> None:
    assert visible("x" * SENTENCE) == "x" * SENTENCE
    assert len(visible("x" * (SENTENCE + 1))) <= SENTENCE


def test_what_markup_is_made_of_is_escaped() -> None:
    assert escaped('<a href="x">\'&') == "&lt;a href=&quot;x&quot;&gt;&#x27;&amp;"
