"""No function takes more parameters than a reader can hold: what travels together is one value."""

import ast
from pathlib import Path

import pytest

MOST_PARAMETERS = 8
ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for top in ("exporter", "models", "calibration") for path in (ROOT / top).rglob("*.py"))


def crowded(source: str) -> list[str]:
    """Functions with too many parameters; `self` and `cls` do not count, nor click's callbacks, one for each option."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef) or any("click." in ast.unparse(one) for one in node.decorator_list):
            continue
        named = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        gathered = [one for one in (node.args.vararg, node.args.kwarg) if one]
        names = [one.arg for one in (*named, *gathered) if one.arg not in ("self", "cls")]
        if len(names) > MOST_PARAMETERS:
            found.append(f"{node.name}({', '.join(names)})")
    return found


def test_the_count_sees_every_kind_of_parameter() -> None:
    assert crowded("def f(self, a, b, /, c, d, *e, f, g, **h): pass") == []
    assert crowded("def f(a, b, /, c, d, *e, f, g, h, **i): pass") == ["f(a, b, c, d, f, g, h, e, i)"]
    assert crowded("@click.command()\ndef f(a, b, c, d, e, f, g, h, i): pass") == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_signature_is_longer_than_a_reader_can_hold(path: Path) -> None:
    assert crowded(path.read_text()) == []


PAIRS_MADE_HERE = {"serve", "run", "margins", "__init__"}  # `ServedModel`'s maker, a task, the wrapper that calls it


def doubled(source: str) -> list[str]:
    """Functions that take a model and how it is served apart, which `ServedModel` holds together."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            names = {one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
            if names & {"model", "module", "trained"} and names & {"interface", "io"}:
                found.append(node.name)
    return found


def test_a_model_and_its_service_travel_as_one_value() -> None:
    assert doubled("def f(model, images, interface): pass") == ["f"]
    assert {name for path in SOURCES for name in doubled(path.read_text())} == PAIRS_MADE_HERE
