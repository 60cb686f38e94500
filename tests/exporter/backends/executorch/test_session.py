"""How many images one call takes: the fixed number, or up to what memory was planned for."""

import pytest

pytest.importorskip("executorch", reason="executorch is not installed")

from slide_export.backends.executorch.session import Session
from slide_export.core.errors import RequestError


def planned(largest: int, *, fixed: bool) -> Session:
    made = Session.__new__(Session)
    made._settings = {"inputs": ["images"], "outputs": ["logits"], "largest": largest, "fixed": fixed}
    return made


@pytest.mark.parametrize(("fixed", "count"), [(True, 8), (False, 1), (False, 7), (False, 8)])
def test_a_batch_within_the_plan_is_taken(fixed: bool, count: int) -> None:
    planned(8, fixed=fixed)._refuse_count(count)


@pytest.mark.parametrize(
    ("fixed", "count", "words"),
    [
        (True, 7, "expected a batch of 8, found 7"),
        (True, 9, "expected a batch of 8, found 9"),
        (False, 9, "expected at most 8 images in one call, found 9: cut them, or export with the option max_batch=9"),
    ],
)
def test_a_batch_beyond_it_is_refused(fixed: bool, count: int, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        planned(8, fixed=fixed)._refuse_count(count)


@pytest.mark.parametrize("names", [(), ("pictures",), ("images", "more")])
def test_feeds_that_are_not_the_inputs_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(RequestError, match="expected the input images, found"):
        planned(8, fixed=True).run(dict.fromkeys(names))  # type: ignore[arg-type]
