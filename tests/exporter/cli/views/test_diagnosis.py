"""A diagnosis as a table: blocks and their parts, the culprit wherever it is, and what hides below a row."""

import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from slide_export.cli.views.diagnosis import SHOWN_DEPTH, as_plain, render, show
from slide_export.diagnosis import Diagnosis, Row

FINE = Row("norm", 130.0, 131.0, 135.0, 136.0, 0, multiple=8.0)


def diagnosis(*rows: Row) -> Diagnosis:
    return Diagnosis("a runtime", "fp32", "photos", 8, rows, ())


def lines(*rows: Row, every: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(render(diagnosis(*rows), every=every))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("depth", "every", "shown"), [(SHOWN_DEPTH - 1, False, True), (SHOWN_DEPTH, False, False), (9, True, True)]
)
def test_parts_of_a_block_are_shown_and_what_is_deeper_on_demand(depth: int, every: bool, shown: bool) -> None:
    assert any("deep" in line for line in lines(FINE, replace(FINE, module="deep", depth=depth), every=every)) is shown


def test_the_culprit_is_shown_however_deep_it_is() -> None:
    told = lines(FINE, replace(FINE, module="a.b.c", depth=9, added_db=20.0))
    assert any("a.b.c" in line and "← first unexplained" in line for line in told)


def test_a_hidden_part_that_is_unexplained_is_told_in_its_row() -> None:
    outer, culprit = replace(FINE, module="a"), replace(FINE, module="a.x", added_db=20.0, depth=9)
    hidden = replace(FINE, module="a.y", added_db=30.0, depth=9)
    (row,) = (line for line in lines(outer, culprit, hidden) if line.lstrip(" │").startswith("a "))
    assert "unexplained" in row
    assert "30" in row  # the worst of what it hides


def test_numbers_that_are_not_finite_are_words_in_json() -> None:
    told = as_plain(diagnosis(replace(FINE, sqnr_db=math.inf, added_db=math.nan)))
    assert json.loads(json.dumps(told, allow_nan=False))
    assert (told["rows"][0]["sqnr_db"], told["rows"][0]["explained"]) == ("exact", False)
    assert told["culprit"] == "norm"


def test_the_row_of_a_module_that_is_called_several_times_tells_the_call() -> None:
    assert any("head.cls, call 3 of 5" in line for line in lines(replace(FINE, module="head.cls", call=3, calls=5)))


def test_layers_that_were_not_compared_are_named_above_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    show(replace(diagnosis(FINE), repeated=("head.cls", "head.reg")))
    *_, line, verdict = capsys.readouterr().out.splitlines()
    told = "not compared, for one image calls them several times and the artifact does not tell its calls apart"
    assert line == f"{told}: head.cls, head.reg"
    assert verdict.startswith("✓ no module loses more")
    show(diagnosis(FINE))
    assert "not compared" not in capsys.readouterr().out
