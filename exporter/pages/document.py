"""Parts of a page, whatever format it is written in. Text is plain: the writers escape it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Tone = Literal["", "good", "bad", "doubt"]


@dataclass(frozen=True)
class Sentence:
    """Statement that a reader acts on.

    Attributes:
        lead: topic; set in bold.
        tone: "good", "bad" or "doubt"; "" is neutral.
    """

    lead: str
    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Statements:
    """Sentences, one below the other."""

    sentences: tuple[Sentence, ...]


@dataclass(frozen=True)
class Heading:
    """Title within a section."""

    text: str


@dataclass(frozen=True)
class Table:
    """Exact numbers.

    Attributes:
        columns: heads, with units.
        left: number of columns that hold words, the first ones; the others hold numbers.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1


@dataclass(frozen=True)
class Figure:
    """Drawing.

    Attributes:
        markup: HTML with inline SVG, escaped already; Markdown shows a table instead.
        caption: content of the drawing and how to read it.
    """

    title: str
    markup: str
    caption: str


Block: TypeAlias = "Statements | Heading | Table | Figure"


@dataclass(frozen=True)
class Section:
    """Titled part of a page."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """Page.

    Attributes:
        subtitle: what was measured, in one line.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]
