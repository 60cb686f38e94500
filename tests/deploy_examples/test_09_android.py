"""The Android project cannot be built here: a Kotlin grammar must parse it, and its JSON must have our keys."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import tree_sitter_kotlin
from tree_sitter import Node

from tests.deploy_examples import grammar

EXAMPLE = Path(__file__).parents[2] / "deploy_examples" / "09_android"
FILES = grammar.sources(EXAMPLE, ".kt", ".kts")
MAIN = EXAMPLE / "bench" / "src" / "main"
RESULT = MAIN / "kotlin" / "slideexport" / "bench" / "ResultFile.kt"


def keys(of: Node) -> set[str]:
    """The keys of the map that a function returns, not those of maps inside it."""
    call = next(
        node for node in grammar.walk(of) if node.type == "call_expression" and (node.text or b"").startswith(b"mapOf(")
    )
    pairs = (argument.named_children[0] for argument in call.named_children[1].named_children)
    return {json.loads(pair.named_children[0].text or b"") for pair in pairs}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_is_kotlin(file: Path) -> None:
    assert grammar.faults(grammar.parse(file.read_bytes(), tree_sitter_kotlin)) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_missing_brace_is_a_fault(file: Path) -> None:
    root = grammar.parse(file.read_bytes(), tree_sitter_kotlin)
    found = [grammar.faults(grammar.parse(text, tree_sitter_kotlin)) for text in grammar.mutations(root)]
    assert found
    assert all(found)


@pytest.mark.parametrize("part", grammar.SCHEMA)
def test_the_json_has_the_keys_of_a_result(part: str) -> None:
    root = grammar.parse(RESULT.read_bytes(), tree_sitter_kotlin)
    grammar.refuse_other_keys(part, keys(grammar.function(root, f"{part}Json")))


def test_a_key_that_is_missing_is_found() -> None:
    root = grammar.parse(re.sub(rb'"first_ms" to [^,]*,', b"", RESULT.read_bytes()), tree_sitter_kotlin)
    with pytest.raises(AssertionError, match=r"run: {'first_ms'}"):
        grammar.refuse_other_keys("run", keys(grammar.function(root, "runJson")))


def test_the_schema_is_ours() -> None:
    from slide_export.benchmark import result_file as result

    assert f'"schema" to "{result.SCHEMA}"' in RESULT.read_text()


def test_the_android_manifest_is_xml_and_the_packages_are_the_namespace() -> None:
    assert ElementTree.parse(MAIN / "AndroidManifest.xml").getroot().tag == "manifest"
    (namespace,) = re.findall(r'namespace = "(.*)"', (EXAMPLE / "bench" / "build.gradle.kts").read_text())
    for file in grammar.sources(EXAMPLE, ".kt"):
        assert f"\npackage {namespace}\n" in file.read_text()
        assert file.parent.as_posix().endswith(namespace.replace(".", "/"))


def test_every_module_that_is_included_is_there() -> None:
    included = re.findall(r'include\(":(\w+)"\)', (EXAMPLE / "settings.gradle.kts").read_text())
    assert included == ["bench"]
    assert all((EXAMPLE / name / "build.gradle.kts").is_file() for name in included)


def test_readme_says_first_that_it_has_not_been_built() -> None:
    _, _, said = (EXAMPLE / "README.md").read_text().partition("\n\n")
    assert said.startswith("This project has not been built or run")
