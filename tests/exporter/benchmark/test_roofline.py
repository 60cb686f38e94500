"""The limit is arithmetic on what was measured; what is not known has none."""

from dataclasses import replace
from typing import Any

import pytest

from slide_export.benchmark.roofline import kinds_of, roofline
from slide_export.core.measurement import ArtifactTiming, Peaks
from slide_export.graph.dtypes import ASKED_IN_FLOAT32
from tests.exporter.pages.synthetic import run, subject

PEAKS = Peaks(2, {"float32": 200.0, "bfloat16": 1000.0, "int8": 2000.0}, {"4": 100.0, "32": 50.0, "256": 10.0})
MIB = 2**20


def timing(
    macs: int, size: int, computed: dict[str, int] | None = None, batch: int = 1, **changes: Any
) -> ArtifactTiming:
    one = replace(subject("a"), macs=macs, artifact_bytes=size, computed=computed, **changes)
    return run(one, 50.0, batch=batch)


@pytest.mark.parametrize(
    ("computed", "kind", "products_ms"),
    [
        (None, "float32", 20.0),
        ({"bfloat16": 60, "float32": 1}, "bfloat16", 4.0),
        ({"int8": 60, "float32": 1}, "int8", 2.0),
        ({"bfloat16": 1, ASKED_IN_FLOAT32: 60}, "bfloat16", 4.0),
    ],
)
def test_products_take_the_fastest_type_that_the_artifact_computes_in(
    computed: dict[str, int] | None, kind: str, products_ms: float
) -> None:
    found = roofline(timing(4_000_000_000, MIB, computed), PEAKS)
    assert found is not None
    assert (found.kind, found.products_ms) == (kind, pytest.approx(products_ms))


@pytest.mark.parametrize(
    ("size_mib", "reading_ms"),
    [(1, 1 / 100), (31, 31 / 100), (32, 32 / 50), (255, 255 / 50), (256, 256 / 10)],
)
def test_bytes_are_read_at_the_rate_of_a_buffer_that_is_no_larger(size_mib: int, reading_ms: float) -> None:
    found = roofline(timing(1, size_mib * MIB), PEAKS)
    assert found is not None
    assert found.reading_ms == pytest.approx(reading_ms * MIB / 1e6)


def test_the_limit_is_the_larger_and_grows_with_the_batch() -> None:
    one, eight = (roofline(timing(4_000_000_000, 113 * MIB, batch=batch), PEAKS) for batch in (1, 8))
    assert one is not None
    assert eight is not None
    assert one.limit_ms == one.products_ms > one.reading_ms
    assert one.factor == pytest.approx(one.measured_ms / 20.0)
    assert eight.products_ms == pytest.approx(8 * one.products_ms)
    assert eight.reading_ms == one.reading_ms
    small = roofline(timing(1000, 113 * MIB), PEAKS)
    assert small is not None
    assert small.limit_ms == small.reading_ms


@pytest.mark.parametrize(
    "unknown",
    [
        timing(0, MIB),
        timing(1, MIB, {"float16": 3}),
        timing(1, MIB, {"int8": 3, "float16": 1}),
        timing(1, MIB, precision="nobody's"),
    ],
    ids=["multiply-adds", "a type without a peak", "one of two", "precision"],
)
def test_what_is_unknown_has_no_limit(unknown: ArtifactTiming) -> None:
    assert roofline(unknown, PEAKS) is None
    assert roofline(timing(1, MIB), None) is None


def test_only_types_that_are_computed_are_asked_for() -> None:
    runs = (timing(1, 1), timing(1, 1, {"int8": 2, "float32": 1}), timing(1, 1, precision="bf16"))
    assert kinds_of(runs) == ("bfloat16", "float32", "int8")
