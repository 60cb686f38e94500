"""The C++ around ncnn cannot be built here: a grammar must parse it, and it must set what the proof set."""

import re
from pathlib import Path

import pytest
import tree_sitter_cpp

from slide_export.backends.ncnn.runtime import EXACT
from tests.deploy_examples import grammar

EXAMPLE = Path(__file__).parents[2] / "deploy_examples" / "18_ncnn"
FILES = grammar.sources(EXAMPLE, ".cpp", ".hpp")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_is_cpp(file: Path) -> None:
    assert grammar.faults(grammar.parse(file.read_bytes(), tree_sitter_cpp)) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_missing_brace_is_a_fault(file: Path) -> None:
    root = grammar.parse(file.read_bytes(), tree_sitter_cpp)
    found = [grammar.faults(grammar.parse(text, tree_sitter_cpp)) for text in grammar.mutations(root)]
    assert found
    assert all(found)


def test_every_option_of_the_proof_is_set() -> None:
    text = (EXAMPLE / "network.hpp").read_text()
    assert dict.fromkeys(re.findall(r"options\.(use_\w+) = false;", text), False) == dict(EXACT)


@pytest.mark.parametrize("name", ["classify.cpp", "android.cpp"])
def test_options_are_set_before_anything_is_loaded(name: str) -> None:
    text = (EXAMPLE / name).read_text()
    assert text.index("exact(") < min(text.index(call) for call in ("load(net", "load_param(") if call in text)


def test_the_version_is_that_of_the_extra() -> None:
    extras = (EXAMPLE.parents[1] / "pyproject.toml").read_text()
    (date,) = set(re.findall(r"\b(20\d{6})\b", extras))
    found = [re.findall(r"\b(20\d{6})\b", (EXAMPLE / name).read_text()) for name in ("README.md", "CMakeLists.txt")]
    assert all(dates and set(dates) == {date} for dates in found)
