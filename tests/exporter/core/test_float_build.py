"""The sentence of a float build says what was proved, what was compared, and what was not."""

import pytest

from slide_export.core.float_build import FloatBuild, StoredFault, StoredReport

FAULT = StoredFault("head.weight", 1, 12, 3.0, "it is another")


def build(passed: bool, report: StoredReport) -> FloatBuild:
    return FloatBuild("a test", 8, 2e-6, 1.7e-5, passed, report)


def test_one_fault_is_no_pass() -> None:
    assert StoredReport(3, 36).passed
    assert not StoredReport(3, 36, (FAULT,)).passed


@pytest.mark.parametrize(
    ("passed", "report", "words"),
    [
        (True, StoredReport(3, 36), "is equal to"),
        (False, StoredReport(3, 36), "is NOT equal to"),
        (True, StoredReport(3, 36), "of 3 stored tensors each is that build's"),
        (True, StoredReport(3, 36, (FAULT,)), "of 3 stored tensors 1 are NOT that build's"),
        (True, StoredReport(0, 0, skipped="nothing is read"), "stored values are not compared: nothing is read"),
        (True, StoredReport(3, 36), "on 8 images (2.0e-06 of 1.7e-05 allowed, a test)"),
    ],
)
def test_the_sentence_says_it(passed: bool, report: StoredReport, words: str) -> None:
    assert words in build(passed, report).sentence
