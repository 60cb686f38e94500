"""The front is what nothing dominates, and latencies that are not told apart decide nothing."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from slide_export.fleet.pareto import Candidate, Interval, dominates, front


def one(ms: float, loss: float | None, mib: float, width: float = 0.1) -> Candidate:
    return Candidate(Interval(ms, ms - width, ms + width), loss, mib)


def test_what_is_worse_in_all_is_beaten_and_what_is_best_in_one_is_not() -> None:
    found = front([one(1, 2, 9), one(2, 1, 9), one(3, 3, 1), one(4, 3, 9)])
    assert found == (None, None, None, 0)


def test_overlapping_intervals_are_no_difference() -> None:
    assert front([one(1.0, 0, 5), one(1.15, 0, 5)]) == (None, None)
    assert front([one(1.0, 0, 5), one(1.15, 0, 4)]) == (1, None)  # smaller, and not surely slower
    assert front([one(1.0, 0, 5), one(1.25, 0, 5)]) == (None, 0)


def test_a_touching_interval_is_an_overlap() -> None:
    a, b = Candidate(Interval(1, 0.5, 1.5), 0, 1), Candidate(Interval(2, 1.5, 2.5), 0, 1)
    assert not dominates(a, b)
    assert dominates(a, Candidate(Interval(2, 1.5000001, 2.5), 0, 1))


def test_an_unknown_accuracy_neither_helps_nor_harms() -> None:
    assert front([one(1, None, 5), one(2, 0.0, 5), one(3, None, 4)]) == (None, 0, None)


CANDIDATES = st.lists(
    st.builds(one, st.integers(1, 6).map(float), st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 4).map(float)),
    min_size=1,
    max_size=12,
)


@given(CANDIDATES)
def test_the_front_is_never_empty_and_nothing_on_it_is_beaten(candidates: list[Candidate]) -> None:
    """Beside the definition itself, pair by pair, of exact latencies."""
    found = front(candidates)
    assert None in found
    for (index, beaten), (other, candidate) in itertools.product(enumerate(found), enumerate(candidates)):
        mine = candidates[index]
        worse = (candidate.latency_ms.value, candidate.loss, candidate.size_mib)
        own = (mine.latency_ms.value, mine.loss, mine.size_mib)
        better = all(a <= b for a, b in zip(worse, own, strict=True)) and worse != own  # type: ignore[operator]
        assert not (better and beaten is None), (index, other)
