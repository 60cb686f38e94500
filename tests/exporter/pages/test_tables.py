"""Numbers of tables as they are written: units, dashes for what is not known, and what is said of the doubtful."""

from dataclasses import replace
from typing import Any

import pytest

from slide_export.pages import tables
from slide_export.pages.phrasing import DASH
from tests.exporter.pages.synthetic import compared, result, run, session, subject


def cells(table: Any, column: str, row: int = 0) -> str:
    return str(table.rows[row][table.columns.index(column)])


@pytest.mark.parametrize(
    ("changes", "column", "said"),
    [
        ({}, "import ms", "95.25"),
        ({"import_ms": None}, "import ms", DASH),
        ({"peak_mib": None}, "peak MiB", DASH),
        ({"peak_mib": 390.6}, "peak MiB", "391"),
        ({"stable": True}, "warm-up calls", "12"),
        ({"stable": False}, "warm-up calls", "12 (not stable)"),
    ],
)
def test_costs_beside_calls(changes: dict[str, Any], column: str, said: str) -> None:
    assert cells(tables.start_up(result((run(subject("a"), 10.0, **changes),))), column) == said


@pytest.mark.parametrize(
    ("parameters", "macs", "said"), [(28_288_354, 4_490_000_000, ("28.29", "4.49")), (0, 0, (DASH, DASH))]
)
def test_counts_in_their_units(parameters: int, macs: int, said: tuple[str, str]) -> None:
    table = tables.start_up(result((run(subject("a", parameters=parameters, macs=macs), 10.0),)))
    assert (cells(table, "parameters M"), cells(table, "MACs G")) == said


@pytest.mark.parametrize(
    ("output", "proof", "expected"),
    [
        ({}, {}, ("passed", "2.40e-06", "131.2", "100.00%")),
        ({"max_abs": 0.0, "sqnr_db": None}, {}, ("passed", "0.00e+00", "exact", "100.00%")),
        ({"max_abs": None, "sqnr_db": None}, {"passed": False}, ("FAILED", "not finite", "not finite", "100.00%")),
        ({}, {"top1": None}, ("passed", "2.40e-06", "131.2", DASH)),
    ],
)
def test_proofs(output: dict[str, Any], proof: dict[str, Any], expected: tuple[str, ...]) -> None:
    plain = {"name": "logits", "max_abs": 2.4e-6, "floor_max": 1.1e-6, "limit_max": 8.8e-6, "sqnr_db": 131.25}
    told = {"outputs": [{**plain, **output}], "passed": True, "top1": 1.0, **proof}
    table = tables.parity([run(subject("a", parity=told), 10.0), run(subject("b", parity=None), 10.0)])
    assert len(table.rows) == 1
    assert tuple(cells(table, name) for name in ("proof", "largest error", "SQNR dB", "same top-1")) == expected


def test_a_ratio_of_two_targets_names_both() -> None:
    runs = (run(subject("a"), 10.0), run(subject("b", "onnx"), 12.0), run(subject("c"), 11.0))
    found = replace(result(runs), comparisons=(compared(1, 0, 1.2, "slower"), compared(2, 0, 1.1, "slower")))
    table = tables.ratios(found)
    assert [cells(table, "target", row) for row in (0, 1)] == ["onnx / openvino", "openvino"]
    assert cells(table, "ratio") == "1.200 [1.190, 1.210]"


def test_sessions_stand_side_by_side_with_dashes_for_what_one_lacks() -> None:
    first, second = result((run(subject("a"), 10.0),)), result((run(subject("b"), 12.0),))
    table = tables.side_by_side([first, second])
    assert [row[-2:].count(DASH) for row in table.rows] == [1, 1]
    assert len(tables.side_by_side([first, first]).rows) == 1


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        ({"cores": 0}, "processor", False),
        ({"cores": 8}, "processor", True),
    ],
)
def test_cores_are_told_where_they_are_known(changes: dict[str, Any], name: str, said: bool) -> None:
    plain = session()
    told = replace(plain, environment=replace(plain.environment, **changes))
    facts = dict(tables._facts(told))
    assert ("8 cores" in facts[name]) is said


def test_a_machine_that_tells_nothing_has_dashes() -> None:
    plain = session()
    nothing = replace(plain.environment, memory_mib=None, governor="", system="", python="", flags=())
    facts = dict(tables._facts(replace(plain, environment=nothing)))
    assert [facts[name] for name in ("flags", "memory", "system", "Python")] == [DASH] * 4
    assert facts["governor"] == "not told by the system"
