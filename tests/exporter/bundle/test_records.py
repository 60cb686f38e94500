"""Parts of a manifest that are made of other values: nothing of those is lost, and schema 1's names stay."""

from dataclasses import fields

import pytest

from slide_export.bundle.records import PRECISIONS, DtypeRecord, PlainLoadRecord, PrecisionRecord
from slide_export.core.artifact import LARGEST_BATCH, DtypeStats
from slide_export.core.plain_load import PlainLoad
from slide_export.core.precision import precision_named
from slide_export.core.typed_json import FieldError, plain, read
from tests.bundles import minimal


def test_schema_1_knew_these_precisions() -> None:
    assert list(PRECISIONS) == ["fp32", "fp16", "int8", "w8"]
    for name, record in PRECISIONS.items():
        known = precision_named(name)
        assert record == PrecisionRecord(name, known.stored, known.computed) == PrecisionRecord.of(known)


def test_a_load_is_told_but_for_this_packages_own_settings() -> None:
    told = {one.name for one in fields(PlainLoadRecord)}
    assert {one.name for one in fields(PlainLoad)} ^ told == {"settings", "sentence"}  # which is made of the others
    found = PlainLoad(
        call="load()", same=False, options={"a": "b"}, why="because", computed=("float16",), proved=("float32",),
        evaluator="x", max_abs=0.5, limit_max=0.25, passed=False, batch="one", settings={"a": 1},
    )  # fmt: skip
    record = PlainLoadRecord.of(found)
    assert all(getattr(record, name) == getattr(found, name) for name in told)


def test_counts_are_those_of_the_artifact() -> None:
    record = DtypeRecord({"float32": 4}, {"int8": 2}, "said", fixed=False, marked=3, counted=False)
    assert record.stats == DtypeStats({"float32": 4}, {"int8": 2}, fixed=False, marked=3, counted=False)


@pytest.mark.parametrize(("batch", "passes"), [(None, True), (1, True), (LARGEST_BATCH, True), (0, False)])
def test_a_batch_is_one_that_an_export_may_have(batch: int | None, passes: bool) -> None:
    options = plain(minimal().options) | {"batch": batch}
    kind = type(minimal().options)
    if passes:
        assert read(kind, options).batch == batch
        return
    with pytest.raises(FieldError):
        read(kind, options)
    with pytest.raises(FieldError):
        read(kind, options | {"batch": LARGEST_BATCH + 1})
