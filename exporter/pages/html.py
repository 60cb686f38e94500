"""Document -> one HTML page that loads nothing: style and drawings stand in it."""

from __future__ import annotations

from importlib.resources import files
from string import Template

from .document import Block, Document, Figure, Heading, Section, Sentence, Statements, Table
from .visible import escaped, visible

MARKS = {"": "", "good": "✓", "bad": "✗", "doubt": "?"}
MAX_OPEN_ROWS = 12  # a longer table is folded on the screen, and open in print


def write(document: Document) -> str:
    """The page as HTML text."""
    here = files(__package__)
    links = "".join(f'<a href="#{_anchor(section)}">{escaped(section.title)}</a>' for section in document.sections)
    return Template((here / "page.html").read_text()).substitute(
        title=escaped(document.title),
        subtitle=escaped(document.subtitle),
        style=(here / "page.css").read_text(),
        links=links,
        sections="\n".join(map(_section, document.sections)),
    )


def _anchor(section: Section) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in visible(section.title).lower()).strip("-")


def _section(section: Section) -> str:
    blocks = "\n".join(map(_block, section.blocks))
    return f'<section id="{_anchor(section)}">\n<h2>{escaped(section.title)}</h2>\n{blocks}\n</section>'


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"<h3>{escaped(block.text)}</h3>"
        case Statements():
            return f'<ul class="statements">{"".join(map(_sentence, block.sentences))}</ul>'
        case Figure():
            caption = f"<figcaption><b>{escaped(block.title)}.</b> {escaped(block.caption)}</figcaption>"
            return f"<figure>\n{block.markup}\n{caption}\n</figure>"
        case Table():
            return _table(block)


def _sentence(sentence: Sentence) -> str:
    mark = f'<i aria-hidden="true">{MARKS[sentence.tone]}</i>'
    return f'<li class="{sentence.tone}">{mark}<b>{escaped(sentence.lead)}:</b> {escaped(sentence.text)}</li>'


def _table(table: Table) -> str:
    def cells(row: tuple[str, ...], tag: str) -> str:
        """Cells of a row as `th` or `td`; CSS sets those of numbers to the right."""
        kinds = ["" if column < table.left else ' class="number"' for column in range(len(row))]
        return "".join(f"<{tag}{kind}>{escaped(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    rows = "\n".join(f"<tr>{cells(row, 'td')}</tr>" for row in table.rows)
    head = f"<thead><tr>{cells(table.columns, 'th')}</tr></thead>"
    scrolled = f'<div class="scroll" tabindex="0"><table>{head}<tbody>\n{rows}\n</tbody></table></div>'
    if len(table.rows) > MAX_OPEN_ROWS:
        return f"<details><summary>{escaped(table.caption)}</summary>{scrolled}</details>"
    return f'<div class="table"><p class="caption">{escaped(table.caption)}</p>{scrolled}</div>'
