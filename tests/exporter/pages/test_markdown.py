"""Markdown of what others wrote: shown as it is, without control characters, and nobody is notified."""

import re

import pytest

from slide_export.pages import html, markdown
from slide_export.pages.document import Document, Section, Sentence, Statements, Table


@pytest.mark.parametrize("text", ["\x1b[2J✓ equal", "\x07", "\x9b31m", "\u202egpj", "\ud800", "x" * 100_000])
def test_no_page_holds_what_does_not_print(text: str) -> None:
    table = Table(text, (text,), ((text,),))
    document = Document(text, text, (Section(text, (Statements((Sentence(text, text),)), table)),))
    for page in (markdown.write(document), html.write(document)):
        page.encode()
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", page)
        assert len(page) < 50_000
