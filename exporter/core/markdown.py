"""Text that others wrote, made fit for Markdown: shown as it is, on one line, without mentions and links."""

from __future__ import annotations

import re

from .text import SENTENCE, foreign


def plain(text: str) -> str:
    """Text escaped so that Markdown shows it as it is, on one line, and notifies nobody.

    Source: the zero-width space behind an at sign, and between a number sign and a digit, is Renovate's
    (renovatebot/renovate 0bafbd1, lib/util/markdown.ts, sanitizeMarkdown).
    """
    one_line = _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))", r"\\\1", one_line)
    return re.sub(r"#(?=\d)", "#&#8203;", escaped).replace("@", "@&#8203;")


def code(text: str) -> str:
    """Text as a code span, which shows every letter as it is; its fence is longer than any run of backticks inside.

    Source: CommonMark 0.31, section 6.1.
    """
    inside = _one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", inside)), default=0))
    blank = " " if len(fence) > 1 else ""
    return f"{fence}{blank}{inside}{blank}{fence}"


def _one_line(text: str) -> str:
    return foreign(" ".join(text.split()), SENTENCE)
