"""A precision that was not honoured is seen in the counts."""

from dataclasses import replace

import pytest

from slide_export.core.artifact import DtypeStats
from slide_export.proof.precision import satisfies, sentence

INTEGER = DtypeStats({"int8": 90, "float32": 10}, {"int8": 44, "float32": 5}, fixed=False, marked=44)
WEIGHTS = DtypeStats({"uint6": 90, "float16": 10}, {"float16": 49}, marked=44)
HALF = DtypeStats({"float16": 960, "float32": 40, "int64": 500}, {"float16": 49})


@pytest.mark.parametrize(
    ("census", "precision", "expected"),
    [
        (HALF, "fp16", True),
        (HALF, "fp32", False),
        (DtypeStats({"float32": 1000}, {"float32": 49}), "fp32", True),
        (DtypeStats({"float32": 1000}, {"float32": 49}), "fp16", False),  # asked for half, built in single
        (DtypeStats({"float16": 1000}, {"float32": 49}), "fp16", False),  # half in the file, single in the arithmetic
        (DtypeStats({"float16": 1000}, {"float32": 49}, fixed=False), "fp16", True),  # the runtime's own choice
        (DtypeStats({"float16": 900, "float32": 100}, {"float16": 49}), "fp16", False),
        (DtypeStats({}, {}), "fp32", False),
        (INTEGER, "int8", True),
        (INTEGER, "fp32", False),
        (replace(INTEGER, computed={"int8": 20, "float32": 29}), "int8", False),  # 8 bits in the file, float in the CPU
        (replace(INTEGER, marked=0, computed={"float32": 49}), "int8", False),
        (replace(INTEGER, stored={"int8": 40, "float32": 60}), "int8", False),
        (WEIGHTS, "w8", True),
        (WEIGHTS, "int8", False),  # palettized weights are no int8 arithmetic
        (replace(WEIGHTS, stored={"float16": 100}, marked=0), "w8", False),
    ],
)
def test_honoured(census: DtypeStats, precision: str, expected: bool) -> None:
    assert satisfies(census, precision) is expected


def test_sentence_counts() -> None:
    assert sentence(HALF, "fp16") == "asked fp16: 96% of weight bytes are float16, 49 of 49 products compute in it"
    assert sentence(INTEGER, "int8") == (
        "asked int8: 90% of weight bytes are int8, 44 of 44 products with such weights compute in int8, "
        "5 in float on this machine, whose runtime chooses"
    )
    assert sentence(WEIGHTS, "w8") == (
        "asked w8: 90% of weight bytes are uint6, those of 44 of 49 products, which compute in float"
    )
    points = replace(INTEGER, stored={"int8": 9000, "uint8": 30, "float32": 970})
    assert "90% of weight bytes are int8, 44" in sentence(points, "int8")
    assert "of weight bytes are int8, those" in sentence(DtypeStats({"float32": 9}, {"float32": 1}), "w8")
