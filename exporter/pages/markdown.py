"""Document -> Markdown. Figures are left out: each stands beside a table of the same numbers."""

from __future__ import annotations

from collections.abc import Sequence

from slide_export.core.markdown import plain

from .document import Block, Document, Figure, Heading, Statements, Table

TONES = {"": "", "good": "✓ ", "bad": "✗ ", "doubt": "? "}


def write(document: Document) -> str:
    """The page as Markdown text."""
    lines = [f"# {plain(document.title)}", "", plain(document.subtitle)]
    for section in document.sections:
        lines += ["", f"## {plain(section.title)}"]
        for block in section.blocks:
            lines += _block(block)
    return "\n".join(lines) + "\n"


def _block(block: Block) -> list[str]:
    match block:
        case Heading():
            return ["", f"### {plain(block.text)}"]
        case Statements():
            return ["", *(f"- {TONES[s.tone]}**{plain(s.lead)}**: {plain(s.text)}" for s in block.sentences)]
        case Table():
            return ["", plain(block.caption) + ":", "", *table(block)]
        case Figure():
            return []


def table(content: Table) -> list[str]:
    """Lines of a table: head, rule, rows."""
    rule = ["---" if column < content.left else "--:" for column in range(len(content.columns))]
    return [_row([*map(plain, content.columns)]), _row(rule), *(_row([*map(plain, row)]) for row in content.rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
