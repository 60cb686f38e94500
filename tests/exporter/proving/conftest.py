"""Outcomes of each kind."""

from pathlib import Path

import pytest

from slide_export.proving.outcome import Outcome
from slide_export.proving.prove import prove_each


@pytest.fixture(scope="session")
def outcomes(exported: Path) -> tuple[Outcome, ...]:
    """Of a bundle that is altered, one that is not there and one that is sound."""
    return prove_each([exported / name for name in ("altered", "absent", "small")])
