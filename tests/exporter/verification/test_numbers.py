"""The numbers of an outcome in columns."""

from slide_export.verification import numbers
from slide_export.verification.outcome import VerifyResult


def test_a_row_has_the_numbers_of_the_proof(outcomes: tuple[VerifyResult, ...]) -> None:
    small = outcomes[2]
    row = dict(zip(numbers.BUNDLES, numbers.bundle_row(small), strict=True))
    assert small.tightest is not None
    assert (row["target"], row["precision"], row["verdict"]) == ("onnx", "fp32", "proved equal")
    assert float(row["largest error"]) == float(f"{small.tightest.max_abs:.2e}")
    assert float(row["limit"]) == float(f"{small.tightest.limit_max:.2e}")


def test_without_a_proof_there_are_dashes(outcomes: tuple[VerifyResult, ...]) -> None:
    assert numbers.bundle_row(outcomes[1])[1:7] == ("-", "-", "not proved", "-", "-", "-")
    assert numbers.as_text(outcomes[1]) == ""


def test_columns_are_aligned() -> None:
    assert numbers.aligned((("a", "bb"), ("aaa", "b"))) == ("a    bb", "aaa   b")
