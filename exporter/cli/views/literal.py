"""Text of files, of names and of others' programs where rich reads markup and the terminal obeys control characters."""

from __future__ import annotations

from rich.markup import escape

from slide_export.core.text import foreign

LONGEST = 500
SENTENCE = 4000
"""Letters of a whole message."""


def literal(text: object, most: int = LONGEST) -> str:
    """Write somebody else's text as markup that shows it: `[red]` is five letters, an escape sequence is written out.

    Args:
        most: letters that are shown.
    """
    return escape(foreign(text, most))
