"""Document -> one HTML page that loads nothing: style and drawings stand in it."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template

from .document import Block, Document, Figure, Heading, Section, Sentence, Statements, Table

MARKS = {"": "", "good": "✓", "bad": "✗", "doubt": "?"}
FOLDED = 12  # rows; a longer table is folded on the screen, and open in print


def write(document: Document) -> str:
    """Returns the page as HTML text."""
    here = files(__package__)
    links = "".join(f'<a href="#{_anchor(section)}">{escape(section.title)}</a>' for section in document.sections)
    return Template((here / "page.html").read_text()).substitute(
        title=escape(document.title),
        subtitle=escape(document.subtitle),
        style=(here / "page.css").read_text(),
        links=links,
        sections="\n".join(map(_section, document.sections)),
    )


def _anchor(section: Section) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in section.title.lower()).strip("-")


def _section(section: Section) -> str:
    blocks = "\n".join(map(_block, section.blocks))
    return f'<section id="{_anchor(section)}">\n<h2>{escape(section.title)}</h2>\n{blocks}\n</section>'


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"<h3>{escape(block.text)}</h3>"
        case Statements():
            return f'<ul class="statements">{"".join(map(_sentence, block.sentences))}</ul>'
        case Figure():
            caption = f"<figcaption><b>{escape(block.title)}.</b> {escape(block.caption)}</figcaption>"
            return f"<figure>\n{block.markup}\n{caption}\n</figure>"
        case Table():
            return _table(block)


def _sentence(sentence: Sentence) -> str:
    mark = f'<i aria-hidden="true">{MARKS[sentence.tone]}</i>'
    return f'<li class="{sentence.tone}">{mark}<b>{escape(sentence.lead)}:</b> {escape(sentence.text)}</li>'


def _table(table: Table) -> str:
    def cells(row: tuple[str, ...], tag: str) -> str:
        kinds = ["" if column < table.left else ' class="number"' for column in range(len(row))]
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    rows = "\n".join(f"<tr>{cells(row, 'td')}</tr>" for row in table.rows)
    head = f"<thead><tr>{cells(table.columns, 'th')}</tr></thead>"
    scrolled = f'<div class="scroll" tabindex="0"><table>{head}<tbody>\n{rows}\n</tbody></table></div>'
    if len(table.rows) > FOLDED:
        return f"<details><summary>{escape(table.caption)}</summary>{scrolled}</details>"
    return f'<div class="table"><p class="caption">{escape(table.caption)}</p>{scrolled}</div>'
