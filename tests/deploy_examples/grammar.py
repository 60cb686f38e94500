"""Sources that cannot be compiled here, as their language's grammar sees them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from types import ModuleType

from tree_sitter import Language, Node, Parser

from slide_export.core.measurement import (
    DERIVED,
    ArtifactInfo,
    ArtifactTiming,
    BenchmarkResult,
    BenchProtocol,
    Environment,
)

SCHEMA = {
    "result": BenchmarkResult,
    "run": ArtifactTiming,
    "subject": ArtifactInfo,
    "environment": Environment,
    "protocol": BenchProtocol,
}


def parse(source: bytes, grammar: ModuleType) -> Node:
    """The root of the syntax tree."""
    return Parser(Language(grammar.language())).parse(source).root_node


def faults(root: Node) -> list[str]:
    """Where the source is not of its language."""
    wrong = (node for node in walk(root) if node.is_error or node.is_missing)
    found = [f"line {node.start_point.row + 1}: {node.text!r}" for node in wrong]
    kinds = Counter(node.type for node in walk(root))
    # Of a brace too many at the end of a script, Kotlin's grammar says nothing.
    uneven = kinds["{"] + kinds["${"] != kinds["}"]
    return found or ["somewhere"] * (root.has_error or uneven)


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def function(root: Node, name: str) -> Node:
    """The declaration of a function."""
    (found,) = (
        node
        for node in walk(root)
        if node.type == "function_declaration" and any(child.text == name.encode() for child in node.named_children)
    )
    return found


def mutations(root: Node, samples: int = 12) -> Iterator[bytes]:
    """The source with one brace of its code missing, here and there; a parenthesis where it has no braces."""
    source = root.text or b""
    places = [node.start_byte for node in walk(root) if node.type == "{"]
    places = places or [node.start_byte for node in walk(root) if node.type == "("]
    for place in places[:: max(len(places) // samples, 1)]:
        yield source[:place] + source[place + 1 :]


def refuse_other_keys(part: str, written: set[str]) -> None:
    """Refuse keys that `exporter/result.py` does not know, and a part without those that it must have."""
    known = {field.name: field for field in fields(SCHEMA[part])}
    told = {name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING}
    required = told - set(DERIVED)
    written = written - {"schema"} if part == "result" else written
    assert written <= known.keys(), f"{part}: {written - known.keys()}"
    assert required <= written, f"{part}: {required - written}"


def sources(folder: Path, *endings: str) -> list[Path]:
    """The files of an example with these endings; at least one."""
    found = sorted(path for ending in endings for path in folder.rglob(f"*{ending}"))
    assert found
    return found
