"""A precision that was not honoured is seen in the counts."""

import pytest

from slide_export.truth import honoured, sentence
from slide_export.types import Census

HALF = Census({"float16": 960, "float32": 40, "int64": 500}, {"float16": 49})


@pytest.mark.parametrize(
    ("census", "precision", "expected"),
    [
        (HALF, "fp16", True),
        (HALF, "fp32", False),
        (Census({"float32": 1000}, {"float32": 49}), "fp32", True),
        (Census({"float32": 1000}, {"float32": 49}), "fp16", False),  # asked for half, built in single
        (Census({"float16": 1000}, {"float32": 49}), "fp16", False),  # half in the file, single in the arithmetic
        (Census({"float16": 1000}, {"float32": 49}, fixed=False), "fp16", True),  # the runtime's own choice
        (Census({"float16": 900, "float32": 100}, {"float16": 49}), "fp16", False),
        (Census({}, {}), "fp32", False),
    ],
)
def test_honoured(census: Census, precision: str, expected: bool) -> None:
    assert honoured(census, precision) is expected


def test_sentence_counts() -> None:
    assert sentence(HALF, "fp16") == "asked fp16: 96% of weight bytes are float16, 49 of 49 products compute in it"
