"""Outcomes of each kind."""

from pathlib import Path

import pytest

from slide_export.verification.batch import prove_each
from slide_export.verification.outcome import VerifyResult


@pytest.fixture(scope="session")
def outcomes(exported: Path) -> tuple[VerifyResult, ...]:
    """Of a bundle that is altered, one that is not there and one that is sound."""
    return prove_each([exported / name for name in ("altered", "absent", "small")])
