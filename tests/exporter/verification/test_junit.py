"""JUnit XML, read back by a library that is not ours."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from junitparser import Error, Failure, JUnitXml

from slide_export.verification import junit
from slide_export.verification.outcome import VerifyResult

NOON = datetime(2026, 1, 2, 12, 0, 0, 250, tzinfo=UTC)


def read(text: str) -> JUnitXml:
    return JUnitXml.fromstring(text.encode())


def test_a_reader_finds_each_bundle_and_why_it_failed(outcomes: tuple[VerifyResult, ...]) -> None:
    (suite,) = read(junit.write(outcomes, NOON))
    altered, absent, small = suite
    assert [case.name for case in suite] == [str(one.path) for one in outcomes]
    assert altered.classname == "slide_export.onnx.fp32"
    assert isinstance(altered.result[0], Failure)
    assert altered.result[0].message == outcomes[0].message
    assert altered.result[0].type == "ParityError"
    assert isinstance(absent.result[0], Error)
    assert small.is_passed
    assert small.time == pytest.approx(outcomes[2].seconds, abs=5e-4)
    assert f"{outcomes[2].tightest.max_abs:.2e}" in small.system_out  # type: ignore[union-attr]


def test_counts_and_time_are_the_sums(outcomes: tuple[VerifyResult, ...]) -> None:
    (suite,) = read(junit.write(outcomes, NOON))
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (3, 1, 1, 0)
    assert suite.time == pytest.approx(sum(case.time for case in suite), abs=2e-3)
    assert suite.timestamp == "2026-01-02T12:00:00"


def test_children_stand_in_the_order_that_jenkins_asks_for(outcomes: tuple[VerifyResult, ...]) -> None:
    root = ElementTree.fromstring(junit.write(outcomes, NOON))
    assert [[part.tag for part in case] for case in root.iter("testcase")] == [
        ["failure", "system-out"],
        ["error"],
        ["system-out"],
    ]


def test_any_text_is_sound_xml() -> None:
    nasty = VerifyResult(Path('a<b>&"\x1b'), 2, "BundleError", "<!&>\x00\nnext \ud800 ✗", 0.5)
    (suite,) = read(junit.write((nasty,), NOON))
    (case,) = suite
    assert case.name == 'a<b>&"\ufffd'
    assert case.result[0].message == "<!&>\ufffd\nnext \ufffd ✗"


def test_a_proof_without_numbers_has_no_output(outcomes: tuple[VerifyResult, ...]) -> None:
    (suite,) = read(junit.write((replace(outcomes[2], proof=None),), NOON))
    assert next(iter(suite)).system_out is None
