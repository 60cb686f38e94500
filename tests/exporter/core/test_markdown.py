"""What others wrote is text in Markdown: no markup, no mention, no end of a code span."""

import pytest

from slide_export.core.markdown import code, plain
from slide_export.core.text import SENTENCE


def test_nobody_is_mentioned_and_no_issue_linked() -> None:
    assert plain("@team, see #12") == "@&#8203;team, see #&#8203;12"


def test_markup_is_shown_as_it_was_written() -> None:
    assert plain("<b> *x* [y](z) | `c` _d_ e_f") == r"&lt;b&gt; \*x\* \[y\](z) \| \`c\` \_d\_ e_f"


@pytest.mark.parametrize(
    ("text", "span"),
    [("a.pth", "`a.pth`"), ("a`b", "`` a`b ``"), ("``", "``` `` ```"), ("a\n# b", "`a # b`"), ("", "``")],
)
def test_a_code_span_ends_where_it_should(text: str, span: str) -> None:
    assert code(text) == span


def test_what_is_longer_than_a_sentence_is_cut() -> None:
    assert len(code("x" * 100_000)) == SENTENCE + 2
