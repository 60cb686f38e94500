"""A griffe extension: placeholders such as ssh://[user@]host[:port] in docstrings are code, no cross-reference."""

from __future__ import annotations

import re
from typing import Any

import griffe

PLACEHOLDERS = re.compile(r"(?<![`\w])([\w:/@.-]*(?:\[[^\]\s]+\][\w:/@.-]*){2,})(?!`)")


class Placeholders(griffe.Extension):
    """Put code marks around words that have two or more bracketed parts."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of each object once it is collected."""
        if obj.docstring is not None:
            obj.docstring.value = PLACEHOLDERS.sub(r"`\1`", obj.docstring.value)
