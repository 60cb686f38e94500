"""A precision that was not honoured is seen in the counts."""

from dataclasses import replace

import pytest

from slide_export.core.artifact import DtypeStats
from slide_export.core.precision import FP16, FP32, INT8, W8, Precision
from slide_export.graph.dtypes import ASKED_IN_FLOAT32
from slide_export.proof.precision import describe, satisfies

INTEGER = DtypeStats({"int8": 90, "float32": 10}, {"int8": 44, "float32": 5}, fixed=False, marked=44)
WEIGHTS = DtypeStats({"uint6": 90, "float16": 10}, {"float16": 49}, marked=44)
HALF = DtypeStats({"float16": 960, "float32": 40, "int64": 500}, {"float16": 49})


@pytest.mark.parametrize(
    ("stats", "precision", "expected"),
    [
        (HALF, FP16, True),
        (HALF, FP32, False),
        (DtypeStats({"float32": 1000}, {"float32": 49}), FP32, True),
        (DtypeStats({"float32": 1000}, {"float32": 49}), FP16, False),  # asked for half, built in single
        (DtypeStats({"float16": 1000}, {"float32": 49}), FP16, False),  # half in the file, single in the arithmetic
        (DtypeStats({"float16": 1000}, {"float32": 49}, fixed=False), FP16, True),  # the runtime's own choice
        (DtypeStats({"float16": 900, "float32": 100}, {"float16": 49}), FP16, False),
        (DtypeStats({}, {}), FP32, False),
        (INTEGER, INT8, True),
        (INTEGER, FP32, False),
        (replace(INTEGER, computed={"int8": 20, "float32": 29}), INT8, False),  # 8 bits in the file, float in the CPU
        (replace(INTEGER, marked=0, computed={"float32": 49}), INT8, False),
        (replace(INTEGER, stored={"int8": 40, "float32": 60}), INT8, False),
        (WEIGHTS, W8, True),
        (WEIGHTS, INT8, False),  # palettized weights are no int8 arithmetic
        (replace(WEIGHTS, stored={"float16": 100}, marked=0), W8, False),
    ],
)
def test_honoured(stats: DtypeStats, precision: Precision, expected: bool) -> None:
    assert satisfies(stats, precision) is expected


def test_the_description_counts() -> None:
    assert describe(HALF, FP16) == "asked fp16: 96% of weight bytes are float16, 49 of 49 products compute in it"
    assert describe(INTEGER, INT8) == (
        "asked int8: 90% of weight bytes are int8, 44 of 44 products with such weights compute in int8, "
        "5 in float on this machine, whose runtime chooses"
    )
    assert describe(WEIGHTS, W8) == (
        "asked w8: 90% of weight bytes are uint6, those of 44 of 49 products, which compute in float"
    )
    points = replace(INTEGER, stored={"int8": 9000, "uint8": 30, "float32": 970})
    assert "90% of weight bytes are int8, 44" in describe(points, INT8)
    assert "of weight bytes are int8, those" in describe(DtypeStats({"float32": 9}, {"float32": 1}), W8)


def test_a_target_that_does_not_count_is_not_judged_and_says_so() -> None:
    uncounted = DtypeStats({}, {}, fixed=False, counted=False)
    assert satisfies(uncounted, FP16)
    assert describe(uncounted, FP16).endswith("does not count what an artifact stores and computes")


def test_products_that_were_asked_for_in_float32_are_no_part_of_the_share() -> None:
    computed = {"float16": 85, ASKED_IN_FLOAT32: 248}
    assert satisfies(DtypeStats({"float16": 1000}, computed), FP16)
    assert describe(DtypeStats({"float16": 9}, computed), FP16).endswith("85 of 85 products compute in it")
    assert not satisfies(DtypeStats({"float16": 1000}, {**computed, "float32": 5}), FP16)
    assert not satisfies(DtypeStats({"float16": 1000}, {ASKED_IN_FLOAT32: 248}), FP16)  # all of it was kept


def shared(stored: int, computed: int, kind: str = "float16") -> DtypeStats:
    """A graph of 1000 weight bytes and 1000 products, so many of which are of a kind, the others float32."""
    return DtypeStats(
        {kind: stored, "float32": 1000 - stored}, {kind: computed, "float32": 1000 - computed}, marked=1000
    )


@pytest.mark.parametrize(
    ("stored", "computed", "some_kept", "expected"),
    [
        (950, 950, False, True),
        (949, 1000, False, False),
        (1000, 949, False, False),
        (500, 500, True, True),  # modules were kept on purpose: half is enough
        (499, 1000, True, False),
        (1000, 499, True, False),
    ],
)
def test_fp16_needs_its_share_of_bytes_and_of_products(
    stored: int, computed: int, some_kept: bool, expected: bool
) -> None:
    assert satisfies(shared(stored, computed), FP16, some_kept=some_kept) is expected


@pytest.mark.parametrize(("stored", "computed", "expected"), [(500, 800, True), (499, 1000, False), (1000, 799, False)])
def test_int8_needs_half_the_bytes_and_four_of_five_products(stored: int, computed: int, expected: bool) -> None:
    assert satisfies(shared(stored, computed, "int8"), INT8) is expected


def test_keeping_modules_asks_for_no_more_than_the_precision_does() -> None:
    assert satisfies(shared(500, 800, "int8"), INT8, some_kept=True)


def test_one_marked_product_is_enough_for_weights_alone() -> None:
    assert satisfies(replace(WEIGHTS, marked=1), W8)
    assert satisfies(DtypeStats({"int8": 9}, {"int8": 1}, marked=1), INT8)


def test_none_of_what_was_asked_is_not_enough() -> None:
    assert not satisfies(DtypeStats({"int8": 9}, {"float32": 1}, marked=1), INT8)
    assert not satisfies(replace(WEIGHTS, marked=0), W8)
    assert "0 of 5 products" in describe(DtypeStats({"float16": 9}, {"float32": 5}), FP16)


@pytest.mark.parametrize(("points", "words"), [(99, "are int8,"), (100, "are int8 or uint8,")])
def test_a_type_is_named_from_a_hundredth_of_the_bytes_on(points: int, words: str) -> None:
    assert words in describe(DtypeStats({"int8": 10000 - points, "uint8": points}, {"int8": 5}, marked=5), INT8)


def test_uint8_with_a_zero_point_is_int8_too() -> None:
    assert satisfies(DtypeStats({"uint8": 9}, {"int8": 5}, marked=5), INT8)
