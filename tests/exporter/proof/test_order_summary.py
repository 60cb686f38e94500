"""The line of a layer that sorts: sums over its rounds, and the figures of the round nearest to its limit."""

import math

import pytest

from slide_export.proof.order_summary import summary
from slide_export.proof.permutation import KeyNoise, PermutationCheck

NOISE = KeyNoise(largest=1.0, rms=0.5)


def check(
    tokens: int = 4,
    noise: KeyNoise = NOISE,
    *,
    strayed: int = 0,
    disorder: float = 0.0,
    displaced_rms: float = 0.0,
    moved: float = 0.0,
) -> PermutationCheck:
    return PermutationCheck(tokens, noise, strayed, disorder, displaced_rms, moved)


def test_a_line_a_layer_over_batches_and_rounds() -> None:
    first = {"a": (check(4, moved=0.5), check(4, strayed=1)), "b": (check(6),)}
    second = {"a": (check(12, strayed=2, moved=0.25),), "b": (check(6),)}
    a, b = summary([first, second])
    assert (a.layer, a.tokens, a.strayed) == ("a", 20, 3)
    assert a.moved == (0.5 * 4 + 0.25 * 12) / 20  # a share of tokens, not of rounds
    assert (b.layer, b.tokens, b.strayed, b.passed) == ("b", 12, 0, True)


def test_the_round_nearest_to_its_limit_is_shown_with_that_limit() -> None:
    wide, tight = KeyNoise(10.0, 8.0), KeyNoise(1.0, 1.0)
    rounds = (check(noise=wide, disorder=5.0, displaced_rms=6.0), check(noise=tight, disorder=1.5, displaced_rms=0.5))
    (found,) = summary([{"a": rounds}])
    assert (found.disorder, found.limit_max) == (1.5, 2.0)  # 1.5 of 1, though 5 of 10 is more
    assert (found.displaced_rms, found.limit_rms) == (6.0, 16.0)  # 6 of 8, though of the other round


@pytest.mark.parametrize(("disorder", "passes"), [(2.0, True), (2.1, False)])
def test_a_line_passes_where_its_rounds_do(disorder: float, passes: bool) -> None:
    one = check(disorder=disorder)
    (found,) = summary([{"a": (check(disorder=0.5), one)}])
    assert (found.passed, one.passed) == (passes, passes)


@pytest.mark.parametrize("value", [math.nan, 1e-30])
def test_no_number_and_disorder_without_any_noise_are_the_worst(value: float) -> None:
    silent = KeyNoise(0.0, 0.0)
    strange = check(noise=NOISE if value != value else silent, disorder=value, displaced_rms=value)
    (found,) = summary([{"a": (check(disorder=1.9, displaced_rms=0.9), strange)}])
    assert not found.passed
    assert found.disorder != 1.9
    assert found.displaced_rms != 0.9


def test_order_without_noise_is_no_fault() -> None:
    (found,) = summary([{"a": (check(noise=KeyNoise(0.0, 0.0)),)}])
    assert found.passed
    assert (found.limit_max, found.limit_rms) == (0.0, 0.0)
