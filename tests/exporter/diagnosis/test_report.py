"""The verdict names the first module that rounding does not explain or, without a floor, the one that stands out."""

from dataclasses import replace

import pytest

from slide_export.cli.views.diagnosis import as_plain, render
from slide_export.diagnosis import Diagnosis, Row
from slide_export.diagnosis.report import worst_call

FINE = Row("norm", 130.0, 131.0, 135.0, 136.0, 0, multiple=8.0)
ROWS = tuple(replace(FINE, module=f"layers.{index}") for index in range(5))


def diagnosis(*rows: Row, precision: str = "fp32", refused_below_db: float | None = None) -> Diagnosis:
    return Diagnosis("a runtime", precision, "photos", 8, rows, (), refused_below_db)


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


CALLS = tuple(replace(FINE, added_db=added) for added in (135.0, 120.0, 140.0))


def test_a_module_that_is_called_several_times_is_told_by_its_lossiest_call() -> None:
    worst = worst_call(CALLS)
    assert worst == replace(CALLS[1], call=2, calls=3)
    assert worst.label == "norm, call 2 of 3"
    found = diagnosis(replace(worst, added_db=31.0))
    assert found.verdict.startswith("norm, call 2 of 3 is the first whose error rounding cannot explain: 31 dB")
    assert worst_call(CALLS[:1]).label == "norm"


def test_a_call_that_rounding_does_not_explain_goes_before_a_lossier_one() -> None:
    few, many = replace(FINE, added_db=100.0, added_floor_db=110.0), replace(FINE, added_db=105.0, added_floor_db=136.0)
    assert few.explained
    assert not many.explained
    assert worst_call([few, many]) == replace(many, call=2, calls=2)


def test_the_call_whose_values_are_not_finite_is_the_worst() -> None:
    assert worst_call([CALLS[1], replace(FINE, added_db=float("nan"))]).call == 2


def test_a_layer_that_8_bits_cannot_hold_at_one_call_is_kept_in_float_at_all() -> None:
    row = replace(FINE, added_db=19.0, added_floor_db=19.0, call=2, calls=5)
    verdict = diagnosis(row, precision="int8", refused_below_db=20.0).verdict
    assert verdict.startswith("int8 itself cannot hold norm, call 2 of 5: ")
    assert verdict.endswith("keep_fp32: [norm]")


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


LOSSY = tuple(replace(row, sqnr_db=33.0, added_db=36.0, added_floor_db=37.0, multiple=4.0) for row in ROWS)


@pytest.mark.parametrize(("added", "blamed"), [(19.9, True), (23.9, True), (24.1, False)])
def test_what_rounding_costs_is_blamed_where_the_artifact_was_refused(added: float, blamed: bool) -> None:
    rows = [*LOSSY[:3], replace(LOSSY[3], added_db=added, added_floor_db=added), LOSSY[4]]
    assert diagnosis(*rows, precision="int8").culprit is None
    found = diagnosis(*rows, precision="int8", refused_below_db=20.0)
    assert (found.culprit is rows[3]) is blamed
    if blamed:
        assert found.verdict.startswith("int8 itself cannot hold layers.3: ")
        assert found.verdict.endswith("keep_fp32: [layers.3]")
    else:
        assert found.verdict.endswith("none stands out: search with precision mixed")


@pytest.mark.parametrize(("added", "explained"), [(24.97, True), (24.95, False)])
def test_four_times_the_floor_is_explained_of_a_quantized_one(added: float, explained: bool) -> None:
    assert replace(LOSSY[0], added_db=added).explained is explained


def test_values_that_are_not_finite_are_blamed_and_said() -> None:
    nan = float("nan")
    overflows = [replace(ROWS[index], sqnr_db=nan, added_db=nan) for index in (1, 2)]
    found = diagnosis(ROWS[0], *overflows, replace(ROWS[3], added_db=float("inf")), precision="fp16")
    assert found.culprit is overflows[0]
    assert found.verdict == "layers.1 is the first whose values are not finite: fp16 overflows there"
    plain = as_plain(found)
    assert [row["added_db"] for row in plain["rows"]] == [135.0, "overflow", "overflow", "exact"]
    cells = list(render(found).columns[3].cells)
    assert cells == ["135 dB", "overflow", "overflow", "exact"]
    without_floor = [replace(row, floor_db=None, added_floor_db=None) for row in found.rows]
    assert diagnosis(*without_floor).culprit is without_floor[1]


def test_an_artifact_is_not_blamed_where_pytorch_alone_overflows() -> None:
    assert replace(FINE, added_floor_db=float("nan")).explained


def test_a_module_that_adds_nothing_is_no_json_infinity() -> None:
    plain = as_plain(diagnosis(replace(FINE, added_db=float("inf"))))
    assert plain["rows"][0]["added_db"] == "exact"
    assert plain["culprit"] is None


def test_deep_modules_show_where_they_are_to_blame() -> None:
    deep = replace(FINE, module="layers.0.blocks.0.mlp.fc1", depth=4)
    assert render(diagnosis(FINE, deep)).row_count == 1
    assert render(diagnosis(FINE, replace(deep, added_db=20.0))).row_count == 2
    assert render(diagnosis(FINE, deep), every=True).row_count == 2
