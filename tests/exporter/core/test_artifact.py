"""How many images go into a call is bounded before anything is allocated for them."""

import pytest

from slide_export.core.artifact import LARGEST_BATCH, ModelIO
from slide_export.core.errors import RequestError


@pytest.mark.parametrize("batch", [None, 1, LARGEST_BATCH])
def test_a_batch_that_can_be_held_is_taken(batch: int | None) -> None:
    assert ModelIO(batch).batch == batch


@pytest.mark.parametrize("batch", [0, -1, LARGEST_BATCH + 1, 10**7])
def test_another_is_refused(batch: int) -> None:
    with pytest.raises(RequestError, match=f"expected batch of 1 to 4096 images, found {batch}"):
        ModelIO(batch)
