"""A kill of each kind in one sweep; `make faults SUITES=fleets` does all 25."""

import random
from pathlib import Path

import pytest

from tests.faults import fleets


@pytest.mark.slow
def test_a_sweep_whose_parts_are_killed_loses_nothing(tmp_path: Path) -> None:
    outcome = fleets.killed(random.Random(0), tmp_path, dict.fromkeys(fleets.KILLS, 1), 60)
    assert outcome.verdict == "fine", outcome
