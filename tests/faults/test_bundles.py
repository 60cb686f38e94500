"""A few seeded cases of the suite; `python -m tests.faults bundles` runs thousands."""

from pathlib import Path

import pytest

from . import bundles


@pytest.mark.parametrize("index", range(27))
def test_a_faulty_bundle_is_refused_in_one_line_or_is_the_sound_one(index: int, tmp_path: Path) -> None:
    found = bundles.run(16, index, tmp_path)
    assert found.verdict in ("fine", "refused"), found.detail
