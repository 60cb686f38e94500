"""What a page consists of, whatever it is written in. Text is plain: the writers escape it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Tone = Literal["", "good", "bad", "doubt"]


@dataclass(frozen=True)
class Sentence:
    """A statement that a reader acts on.

    Attributes:
        lead: what it is about; set in bold.
        tone: "good", "bad" or "doubt" where it has one.
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
    """The title of what follows within a section."""

    text: str


@dataclass(frozen=True)
class Table:
    """Exact numbers.

    Attributes:
        columns: heads, with units.
        left: how many of the first columns are words; the others are numbers.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1


@dataclass(frozen=True)
class Figure:
    """A drawing.

    Attributes:
        markup: HTML with inline SVG, escaped already; Markdown has the table in its place.
        caption: what is drawn and how to read it.
    """

    title: str
    markup: str
    caption: str


Block: TypeAlias = "Statements | Heading | Table | Figure"


@dataclass(frozen=True)
class Section:
    """A titled part of a page."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A page.

    Attributes:
        subtitle: what was measured, in one line.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]
