"""The verdict names the first module that rounding does not explain or, without a floor, the one that stands out."""

from dataclasses import replace

import pytest

from slide_export.diagnosis import Diagnosis, Row
from slide_export.diagnosis.table import as_plain, render

FINE = Row("norm", 130.0, 131.0, 135.0, 136.0, 0)
ROWS = tuple(replace(FINE, module=f"layers.{index}") for index in range(5))


def diagnosis(*rows: Row, precision: str = "fp32") -> Diagnosis:
    return Diagnosis("a runtime", precision, "photos", 8, rows, ())


def test_the_first_unexplained_is_named_with_both_numbers() -> None:
    bad = [replace(ROWS[index], sqnr_db=30.0, added_db=31.0) for index in (2, 3)]
    found = diagnosis(*ROWS[:2], *bad, ROWS[4])
    assert found.culprit is bad[0]
    assert found.verdict == (
        "layers.2 is the first whose error rounding cannot explain: 31 dB, where fp32 explains 136 dB"
    )


@pytest.mark.parametrize(("added", "explained"), [(118.0, True), (117.9, False)])
def test_eight_times_the_floor_is_explained(added: float, explained: bool) -> None:
    assert replace(FINE, added_db=added, added_floor_db=136.06).explained is explained


def test_what_is_inherited_is_not_blamed() -> None:
    found = diagnosis(ROWS[0], replace(ROWS[1], sqnr_db=20.0))
    assert found.culprit is None
    assert found.verdict.startswith("no module loses more than fp32 explains")


@pytest.mark.parametrize(("worst", "blamed"), [(22.9, True), (23.1, False)])
def test_without_a_floor_the_one_far_below_the_median_stands_out(worst: float, blamed: bool) -> None:
    rows = [replace(row, added_db=35.0, floor_db=None, added_floor_db=None) for row in ROWS]
    rows[3] = replace(rows[3], added_db=worst)
    found = diagnosis(*rows, precision="int8")
    assert (found.culprit is rows[3]) is blamed
    assert found.verdict.startswith("layers.3 stands out: it loses to 23 dB" if blamed else "no module")


def test_a_module_that_adds_nothing_is_no_json_infinity() -> None:
    plain = as_plain(diagnosis(replace(FINE, added_db=float("inf"))))
    assert plain["rows"][0]["added_db"] is None
    assert plain["culprit"] is None


def test_deep_modules_show_where_they_are_to_blame() -> None:
    deep = replace(FINE, module="layers.0.blocks.0.mlp.fc1", depth=4)
    assert render(diagnosis(FINE, deep)).row_count == 1
    assert render(diagnosis(FINE, replace(deep, added_db=20.0))).row_count == 2
    assert render(diagnosis(FINE, deep), every=True).row_count == 2
