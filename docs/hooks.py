"""What MkDocs asks while it builds: a page's marks, `{{ figure NAME }}` or `{{ table HEADING }}`, are filled in."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import diagrams
import generated
from figures import FIGURES, draw
from results import table

MARK = re.compile(r"\{\{ (\w+)(?: ([^}]+?))? \}\}")
LOG = logging.getLogger("mkdocs.hooks.slide-export")  # in strict mode a warning ends the build


def figure(name: str) -> str:
    """The figure of this name, drawn from RESULTS."""
    return draw(FIGURES[name]())


def results(heading: str) -> str:
    """The first table under this heading of RESULTS; `HEADING / COLUMN` where its first column is headed so."""
    name, _, first = heading.partition(" / ")
    return table(name, first).markdown()


def diagram(name: str) -> str:
    """The diagram of this system."""
    return diagrams.draw(diagrams.DIAGRAMS[name])


MARKS: dict[str, Callable[..., str]] = {"figure": figure, "table": results, "diagram": diagram, **generated.MARKS}


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Put what the marks of a page stand for in their place."""

    def made(match: re.Match[str]) -> str:
        name, argument = match.groups()
        try:
            return MARKS[name](argument) if argument else MARKS[name]()
        except (KeyError, ValueError) as error:
            LOG.warning("%s: %s gives nothing: %s", page.file.src_path, match[0], error)
            return match[0]

    return MARK.sub(made, markdown)
