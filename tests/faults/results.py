"""Result files with one fault each: read, checked, and shown in every way that there is, or refused in one line."""

from __future__ import annotations

import functools
import io
import json
import random
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from rich.console import Console

from slide_export.benchmark import result_file
from slide_export.cli.views.benchmark import render
from slide_export.core.errors import SlideExportError
from slide_export.core.measurement import Comparison, Interval
from slide_export.pages import html, markdown
from slide_export.pages.compose import compose
from slide_export.pages.validate import refuse_unsound
from tests.exporter.pages import synthetic

from .hostile import FORGED, VALUES, altered, damaged, unclear
from .outcome import Outcome

NAME, CASES = "results", 5000
MARKDOWN = re.compile(r"<script|<img|@team|#12|(?<!\\)\[x\\?\]\(")
PRINTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@functools.cache
def _sound() -> str:
    lossy = {"passed": True, "sentence": "nothing lost", "drop": 0.1, "artifact": {"top1": 0.9, "top5": None}}
    runs = (
        synthetic.run(synthetic.subject("a", accuracy=lossy), 10.0, profile=synthetic.profile()),
        synthetic.run(synthetic.subject("b", precision="fp16", accuracy=lossy), 8.0, 1),
        synthetic.run(synthetic.subject("a", "onnx"), 12.0, 2, batch=2),
    )
    found = synthetic.result(runs, (Comparison(1, 0, Interval(0.8, 0.79, 0.81), "faster"),))
    return result_file.to_json(found)


def _faulty(chance: random.Random) -> tuple[str | bytes, str]:
    kind = chance.choice(("field", "field", "field", "field", "fields", "bytes", "whole"))
    if kind == "bytes":
        return damaged(_sound().encode(), chance), kind
    if kind == "whole":
        return chance.choice(("[" * 100_000, json.dumps(chance.choice(VALUES)), "{" * 3, "", "\ufeff{}")), kind
    content, how = json.loads(_sound()), kind
    for _ in range(1 if kind == "field" else 3):
        content, how = altered(content, chance)
    return json.dumps(content), how


def run(seed: int, index: int, room: Path) -> Outcome:
    """One result file with a fault, read and shown."""
    text, how = _faulty(random.Random(f"{seed}:{index}"))
    path = room / "result.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        found = result_file.read(path)
        refuse_unsound(found, str(path))
    except SlideExportError as error:
        return Outcome("message", f"{how}: {str(error)!r}") if unclear(str(error)) else Outcome("refused")
    return _shown(found, how)


def _shown(found: Any, how: str) -> Outcome:
    json.loads(result_file.to_json(found), parse_constant=_no_number)
    page = compose([found, replace(found, measured="2026-01-02T00:00:00+00:00")], {})
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    for part in render(found):
        console.print(part)
    texts = {"html": html.write(page), "markdown": markdown.write(page), "terminal": console.file.getvalue()}  # type: ignore[attr-defined]
    for where, text in texts.items():
        text.encode()
        if PRINTED.search(text) or FORGED in text:
            return Outcome("silent", f"{how}: control characters in {where}")
    found = MARKDOWN.search(texts["markdown"])
    harm = {"html": _elements(texts["html"]), "markdown": found[0] if found else ""}
    said = [f"{how}: {what!r} in {where}" for where, what in harm.items() if what]
    return Outcome("silent", said[0]) if said else Outcome("fine")


def _elements(text: str) -> str:
    """The elements and attributes of a page that no page of ours has, as a browser would read them."""
    reader = _Elements()
    reader.feed(text)
    return " ".join(reader.found)


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [tag] * (tag in ("script", "img", "iframe", "object"))
        self.found += [name for name, _ in attrs if name.startswith("on")]


def _no_number(word: str) -> float:
    raise AssertionError(f"{word} in JSON")
