"""A small part of each suite of what users hand over beside a checkpoint: pictures, recipes, class names and lists."""

from pathlib import Path
from types import ModuleType

import pytest

from tests.faults import images, labels, recipes
from tests.faults.outcome import GOOD

PART = {images: 60, recipes: 150, labels: 200}


@pytest.mark.parametrize("suite", PART, ids=lambda suite: suite.NAME)
def test_no_fault_is_met_with_more_or_less_than_one_line(suite: ModuleType, tmp_path: Path) -> None:
    for index in range(PART[suite]):
        room = tmp_path / str(index)
        room.mkdir()
        outcome = suite.run(1, index, room)
        assert outcome.verdict in GOOD, f"{index}: {outcome.detail}"
