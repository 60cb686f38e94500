"""The Swift package cannot be compiled on Linux: a Swift grammar must parse it, and its JSON must have our keys."""

import json
from pathlib import Path

import pytest
import tree_sitter_swift
from tree_sitter import Node

from tests.deploy_examples import grammar

EXAMPLE = Path(__file__).parents[2] / "deploy_examples" / "06_coreml_swift"
FILES = grammar.sources(EXAMPLE, ".swift")
RESULT = EXAMPLE / "Sources" / "SlideBench" / "ResultFile.swift"


def keys(of: Node) -> set[str]:
    """The keys of the dictionary that a function returns, not those of dictionaries inside it."""
    literal = next(node for node in grammar.walk(of) if node.type == "dictionary_literal")
    named = literal.named_children
    colons = [child.start_byte for child in literal.children if child.type == ":"]
    before = ([node for node in named if node.end_byte <= colon][-1] for colon in colons)
    return {json.loads(node.text or b"") for node in before}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_is_swift(file: Path) -> None:
    assert grammar.faults(grammar.parse(file.read_bytes(), tree_sitter_swift)) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_missing_brace_is_a_fault(file: Path) -> None:
    root = grammar.parse(file.read_bytes(), tree_sitter_swift)
    found = [grammar.faults(grammar.parse(text, tree_sitter_swift)) for text in grammar.mutations(root)]
    assert found
    assert all(found)


@pytest.mark.parametrize("part", grammar.SCHEMA)
def test_the_json_has_the_keys_of_a_result(part: str) -> None:
    root = grammar.parse(RESULT.read_bytes(), tree_sitter_swift)
    grammar.refuse_other_keys(part, keys(grammar.function(root, f"{part}JSON")))


def test_a_key_of_another_name_is_found() -> None:
    root = grammar.parse(RESULT.read_bytes().replace(b'"load_ms"', b'"loading_ms"'), tree_sitter_swift)
    with pytest.raises(AssertionError, match=r"run: {'loading_ms'}"):
        grammar.refuse_other_keys("run", keys(grammar.function(root, "runJSON")))


def test_the_schema_is_ours() -> None:
    from slide_export.benchmark import result_file as result

    assert f'"schema": "{result.SCHEMA}"' in RESULT.read_text()


def test_readme_says_first_that_it_has_not_been_compiled() -> None:
    _, _, said = (EXAMPLE / "README.md").read_text().partition("\n\n")
    assert said.startswith("This package has not been compiled or run")
