"""Simulated jobs: which keys are refused, and the graph of a sweep of them."""

from collections import Counter

import pytest

from slide_export.core.errors import RequestError
from slide_export.fleet.simulated import jobs, perform

FIRST, LAST, MIDDLE = "0" * 64, "f" * 64, "8" + "0" * 63


@pytest.mark.parametrize(
    ("key", "share", "refused"),
    [
        (FIRST, 0.0, False),
        (FIRST, 0.01, True),
        (MIDDLE, 0.5, False),
        (MIDDLE, 0.51, True),
        (LAST, 0.99, False),
        (LAST, 1.0, True),
    ],
)
def test_a_share_of_the_keys_is_refused(key: str, share: float, refused: bool) -> None:
    assert perform(key, {"refused": share})["exit_code"] == int(refused)


def test_an_act_that_is_none_is_refused() -> None:
    with pytest.raises(RequestError, match="expected an act of end, die, die once"):
        perform(FIRST, {"act": "dance"})


def test_a_sweep_has_33_jobs_a_checkpoint() -> None:
    made = list(jobs(2))
    assert len(made) == len({one.key for one in made}) == 2 * 33
    kinds = Counter(one.subject.split()[-1 if "evaluate" not in one.subject else -2] for one in made)
    assert kinds == {"digest": 2, "export": 8, "verify": 8, "evaluate": 32, "merge": 8, "bench": 8}
    known: set[str] = set()
    for one in made:
        assert known.issuperset(one.needs)  # each after what it needs
        known.add(one.key)
