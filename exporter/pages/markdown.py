"""Document -> Markdown. Figures are left out: each stands beside a table of the same numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .document import Block, Document, Figure, Heading, Statements, Table

TONES = {"": "", "good": "✓ ", "bad": "✗ ", "doubt": "? "}


def write(document: Document) -> str:
    """Returns the page as Markdown text."""
    lines = [f"# {plain(document.title)}", "", plain(document.subtitle)]
    for section in document.sections:
        lines += ["", f"## {plain(section.title)}"]
        for block in section.blocks:
            lines += _block(block)
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """Returns text that Markdown shows as it is, on one line."""
    one_line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))", r"\\\1", one_line)


def _block(block: Block) -> list[str]:
    match block:
        case Heading():
            return ["", f"### {plain(block.text)}"]
        case Statements():
            return ["", *(f"- {TONES[s.tone]}**{plain(s.lead)}**: {plain(s.text)}" for s in block.sentences)]
        case Table():
            return ["", plain(block.caption) + ":", "", *_table(block)]
        case Figure():
            return []


def _table(table: Table) -> list[str]:
    rule = ["---" if column < table.left else "--:" for column in range(len(table.columns))]
    return [_row([*map(plain, table.columns)]), _row(rule), *(_row([*map(plain, row)]) for row in table.rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
