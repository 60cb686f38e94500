"""Text of results as a page shows it: without control characters, and of bounded length."""

from __future__ import annotations

from html import escape

from slide_export.core.text import SENTENCE, foreign


def visible(text: str) -> str:
    """Write what does not print as an escape, and cut what is longer than any sentence of ours."""
    return foreign(text, SENTENCE)


def escaped(text: str) -> str:
    """The same as text of an HTML element or attribute."""
    return escape(visible(text))
