"""Which files a shard counts, and which numbers of an accuracy are told."""

from types import SimpleNamespace
from typing import Any

import pytest

from slide_export.calibration.parts import CHUNK_IMAGES, FileRange, ranges
from slide_export.fleet.evaluating import _measures, _part

TWO = 2 * CHUNK_IMAGES


def part(files: int, shard: int, shards: int, most: int = TWO) -> FileRange:
    data: Any = SimpleNamespace(images=SimpleNamespace(files=range(files)))
    prepared: Any = SimpleNamespace(served=SimpleNamespace(task=SimpleNamespace(measure=None)))
    return _part({"shard": shard, "shards": shards, "shard_images": most}, prepared, data)


@pytest.mark.parametrize("files", [1, TWO - 1, TWO, TWO + 1, 3 * TWO])
def test_shards_are_the_whole_set_once(files: int) -> None:
    shards = len(ranges(files, CHUNK_IMAGES, TWO))
    found = [part(files, shard, shards) for shard in range(shards)]
    assert [one.start for one in found] == [0, *(one.stop for one in found[:-1])]
    assert found[-1].stop == files


def test_the_last_shard_takes_what_is_left_and_one_too_many_none() -> None:
    """The plan counted files, of which a task may take several for one sample, or fewer than there are."""
    assert part(3 * TWO, 1, 2) == FileRange(TWO, 3 * TWO)
    assert part(TWO, 1, 3) == FileRange(TWO, TWO)
    assert part(TWO, 0, 3) == FileRange(0, TWO)


@pytest.mark.parametrize(
    ("report", "told"),
    [
        ({}, {}),
        ({"drop": 1.0, "interval": (0.5, 1.5)}, {"drop": (1.0, 0.5, 1.5)}),
        ({"drop": 0.0, "sqnr_db": float("inf")}, {"drop": (0.0, None, None), "sqnr_db": (None, None, None)}),
        ({"agreement": 0.99}, {"agreement": (0.99, None, None)}),
    ],
)
def test_numbers_that_are_known_are_told_with_their_interval(report: dict[str, Any], told: dict[str, Any]) -> None:
    whole = {"drop": None, "agreement": None, "sqnr_db": None, "interval": None, **report}
    assert _measures(SimpleNamespace(**whole)) == told  # type: ignore[arg-type]
