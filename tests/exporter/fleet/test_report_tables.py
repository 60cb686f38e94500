"""Numbers of a report: how they are written, what is cut, and which plane is drawn."""

from typing import Any

import pytest

from slide_export.fleet import report_tables as tables
from slide_export.fleet.pareto import Interval
from slide_export.fleet.report_rows import ArtifactRow, Failures, Run, Sitting, SweepRows
from slide_export.pages.phrasing import DASH


def row(name: str = "a", **fields: Any) -> ArtifactRow:
    fields = {"state": "done", "message": "", "size_mib": 1.25, **fields}
    return ArtifactRow(name, name, target="onnx", precision="fp32", **fields)


def sitting(*rows: ArtifactRow) -> Sitting:
    runs = tuple(Run(one, Interval(2.0, 1.9, 2.1)) for one in rows)
    return Sitting("bench", "here", runs, ())


@pytest.mark.parametrize(
    ("names", "said"), [("abc", "a, b, c"), ("abcd", "a, b, c and 1 more"), ("", ""), ("abcdef", "a, b, c and 3 more")]
)
def test_three_names_are_written_out(names: str, said: str) -> None:
    assert tables.some(list(names)) == said


@pytest.mark.parametrize(
    ("accuracy", "shown"),
    [
        (None, None),
        ({"artifact": {"top1": 0.975}}, 97.5),
        ({"artifact": None}, None),
        ({"measured": {"artifact": 31.5}, "artifact": None}, 31.5),
    ],
)
def test_an_accuracy_is_in_percent_or_in_the_units_of_its_task(accuracy: Any, shown: float | None) -> None:
    assert tables.top1(row(accuracy=accuracy)) == shown


def test_a_plane_has_two_points_at_least_and_accuracy_comes_first() -> None:
    scored = row(accuracy={"artifact": {"top1": 0.9}, "drop": 0.1})
    lost = row(accuracy={"drop": 0.1})
    assert [figure.title for figure in tables.planes(sitting(scored, scored))] == [
        "Median latency and top-1 accuracy",
        "Median latency and size of the artifact",
    ]
    assert [figure.title for figure in tables.planes(sitting(scored, lost))] == [
        "Median latency and lost beside PyTorch",
        "Median latency and size of the artifact",
    ]
    assert [figure.title for figure in tables.planes(sitting(lost, row()))] == [
        "Median latency and size of the artifact"
    ]
    assert list(tables.planes(sitting(scored))) == []
    assert list(tables.planes(sitting(scored, row(size_mib=None)))) == []


def test_what_is_not_known_is_a_dash() -> None:
    (cells,) = tables.artifacts([row(size_mib=None)]).rows
    assert cells == ("a", "done", DASH, DASH, DASH, DASH, DASH, DASH, DASH, DASH)
    accuracy = {"artifact": {"top1": 0.5}, "drop": 1.0, "interval": (0.5, 1.5), "max_drop": 2.0}
    accuracy |= {"agreement": 0.99, "sqnr_db": 31.25}
    (cells,) = tables.artifacts([row(accuracy=accuracy, accuracy_state="done", verified=["done", "failed"])]).rows
    assert cells == (
        "a", "done", "done, failed", "done", "50.00", "1.00 (0.50 to 1.50)", "2.00", "99.00%", "31.2", "1.25"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "message", "said"),
    [("done", "kept", "done"), ("refused", "why", "refused: why"), ("refused", "", "refused")],
)
def test_an_artifact_that_is_none_says_why(state: str, message: str, said: str) -> None:
    assert tables.artifacts([row(state=state, message=message)]).rows[0][1] == said


def test_a_table_is_cut_and_says_so() -> None:
    whole = tables.artifacts([row()] * tables.MOST_ROWS)
    cut = tables.artifacts([row()] * (tables.MOST_ROWS + 1))
    assert len(whole.rows) == len(cut.rows) == tables.MOST_ROWS
    assert "the CSV has all" not in whole.caption
    assert f"the first {tables.MOST_ROWS} of {tables.MOST_ROWS + 1}" in cut.caption


def test_each_run_says_whether_it_is_worth_a_choice() -> None:
    fit, other = row("fit"), row("other")
    runs = (
        Run(fit, Interval(2.0, 1.9, 2.1)),
        Run(other, Interval(3.0, 2.9, 3.1), fit),
        Run(row("bad", state="refused"), Interval(1, 1, 1)),
    )
    found = tables.sitting(Sitting("bench", "here", runs, ())).rows
    assert [cells[1] for cells in found] == ["on the front", "beaten by fit", "not fit"]
    assert found[0][2] == "2.00 (1.90 to 2.10)"


def test_jobs_by_stage_have_a_column_for_each_state_that_is_there() -> None:
    counts = {"export": {"done": 4}, "verify": {"failed": 1, "done": 1}}
    rows = SweepRows((), (), (), (), (), counts, {"export": 10.0, "verify": 3.0}, {})
    table = tables.jobs(rows)
    assert table.columns == ("stage", "done", "failed", "seconds", "mean s")
    assert table.rows == (("export", "4", "0", "10", "2.50"), ("verify", "1", "1", "3", "1.50"))


def test_failures_alike_are_counted() -> None:
    (cells,) = tables.failures([Failures("export", "failed", "", ("a", "b", "c", "d"))]).rows
    assert cells == (DASH, "export", "failed", "a, b, c and 1 more", "4")
