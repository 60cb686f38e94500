"""The significance of a difference, against sums written out and counted simulations."""

import math

import numpy as np
import pytest

from slide_export.calibration.significance import better_than_chance, drop_interval, mcnemar


@pytest.mark.parametrize(("lost", "won"), [(0, 1), (5, 0), (9, 2), (2, 9)])
def test_mcnemar_is_the_two_tails_of_a_fair_coin(lost: int, won: int) -> None:
    n, few = lost + won, min(lost, won)
    tail = sum(math.comb(n, k) for k in range(few + 1)) / 2**n
    assert mcnemar(lost, won) == pytest.approx(min(1.0, 2 * tail))


def test_models_that_never_disagree_are_alike() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(4, 4) == 1.0


def test_the_interval_is_the_formula() -> None:
    a, b, n = 8 / 202, 2 / 202, 202
    half = 1.959964 * math.sqrt((a + b - (a - b) ** 2) / n)
    assert drop_interval(7, 1, 200) == pytest.approx((a - b - half, a - b + half), abs=1e-6)


def test_the_interval_covers_the_true_drop_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    samples = rng.multinomial(300, [0.03, 0.01, 0.96], size=2000)
    covered = 0
    for lost, won, _ in samples:
        low, high = drop_interval(int(lost), int(won), 300)
        covered += low <= 0.02 <= high
    assert 0.93 <= covered / 2000 <= 0.98


def test_no_disagreement_still_leaves_doubt_that_images_remove() -> None:
    few, many = drop_interval(0, 0, 20), drop_interval(0, 0, 2000)
    assert few[0] < 0 < few[1]
    assert many[1] < few[1] / 20


def test_chance_is_guessing_among_the_classes() -> None:
    assert not better_than_chance(11, 100, 10)
    assert better_than_chance(30, 100, 10)
    assert not better_than_chance(3, 3, 2)  # three images prove nothing


@pytest.mark.parametrize(
    ("right", "images", "classes", "better"),
    [(10, 10, 2, True), (9, 9, 2, False), (2, 2, 31, False), (2, 2, 32, True)],
)
def test_luck_is_what_happens_once_in_a_thousand(right: int, images: int, classes: int, better: bool) -> None:
    """All right by guessing: 2^-10 is 0.00098, 31^-2 is 0.00104, 32^-2 is 0.00098."""
    assert (classes**-images < 1e-3) is better
    assert better_than_chance(right, images, classes) is better


def test_no_more_than_everything_can_be_lost_or_won() -> None:
    assert drop_interval(0, 1, 1)[0] == -1.0
    assert drop_interval(1, 0, 1)[1] == 1.0


def test_another_confidence_is_another_width() -> None:
    low, high = drop_interval(7, 1, 200, confidence=0.5)
    a, b, n = 8 / 202, 2 / 202, 202
    assert high - low == pytest.approx(2 * 0.6744898 * math.sqrt((a + b - (a - b) ** 2) / n), abs=1e-6)
