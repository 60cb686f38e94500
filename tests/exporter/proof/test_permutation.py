"""An order that sorts up to the keys' noise is accepted, and nothing else."""

import numpy as np
import pytest

from slide_export.proof.permutation import KeyNoise, PermutationCheck, check_permutation, is_permutation, key_noise

KEYS = np.array([[1.0, 2.0, 2.0000001, 3.0]])
TOKENS = np.array([[10, 11, 12, 13]])
NOISE = KeyNoise(1e-6, 1e-6)
ANY = 1e9


def judge(after: list[int], *, before: list[int] | None = None, parts: int = 1) -> PermutationCheck:
    started = TOKENS if before is None else np.array([before])
    return check_permutation(KEYS, NOISE, started, np.array([after]), parts)


@pytest.mark.parametrize("after", [[10, 11, 12, 13], [10, 12, 11, 13]])
def test_keys_that_are_equal_up_to_their_noise_may_come_either_way(after: list[int]) -> None:
    assert judge(after).passed


def test_keys_belong_to_the_tokens_as_they_lay_before() -> None:
    assert judge([13, 11, 12, 10], before=[13, 11, 12, 10]).passed
    assert not judge([10, 11, 12, 13], before=[13, 11, 12, 10]).passed


@pytest.mark.parametrize("after", [[11, 10, 12, 13], [10, 11, 13, 12], [13, 11, 12, 10]])
def test_keys_the_wrong_way_round_are_refused(after: list[int]) -> None:
    check = judge(after)
    assert not check.passed
    assert check.disorder >= 0.9
    assert check.strayed == 0


@pytest.mark.parametrize("after", [[10, 11, 11, 13], [10, 11, 12, 14]])
def test_what_is_no_permutation_is_refused(after: list[int]) -> None:
    check = judge(after)
    assert not check.passed
    assert check.strayed > 0


def test_tokens_stay_in_their_cluster() -> None:
    assert judge([10, 11, 12, 13], parts=2).passed
    assert judge([10, 12, 11, 13], parts=2).strayed == 2  # within the noise, and yet across the cut


def test_a_nan_among_the_keys_is_refused() -> None:
    keys = KEYS.copy()
    keys[0, 1] = np.nan
    assert not check_permutation(keys, NOISE, TOKENS, TOKENS, 1).passed


def test_disorder_is_allowed_up_to_twice_the_noise_of_a_key() -> None:
    keys = np.array([[0.0, 1.9]])
    swapped = np.array([[1, 0]])
    assert check_permutation(keys, KeyNoise(1.0, ANY), np.array([[0, 1]]), swapped, 1).passed
    assert not check_permutation(keys, KeyNoise(0.9, ANY), np.array([[0, 1]]), swapped, 1).passed


def test_displacement_is_allowed_up_to_twice_the_root_mean_square_of_the_noise() -> None:
    keys = np.array([[0.0, 1.9]])
    swapped = np.array([[1, 0]])  # each position is off by 1.9
    assert check_permutation(keys, KeyNoise(ANY, 0.96), np.array([[0, 1]]), swapped, 1).passed
    assert not check_permutation(keys, KeyNoise(ANY, 0.94), np.array([[0, 1]]), swapped, 1).passed


def test_keys_with_noise_that_are_sorted_are_within_the_limits_of_that_noise() -> None:
    drawn = np.random.default_rng(0)
    for spread in (1e-3, 1.0, 1e3):
        keys, error = drawn.standard_normal((4, 64)) * spread, drawn.standard_normal((4, 64))
        tokens = np.broadcast_to(np.arange(64), keys.shape)
        noise = KeyNoise(float(np.abs(error).max()), float(np.sqrt(np.mean(error**2))))
        assert check_permutation(keys, noise, tokens, np.argsort(keys + error, axis=1), 1).passed


def test_a_permutation_has_every_token_once() -> None:
    assert is_permutation(np.array([[1, 0, 2], [2, 1, 0]]))
    assert not is_permutation(np.array([[1, 0, 2], [2, 1, 1]]))


def test_moved_is_the_share_that_float64_would_have_put_elsewhere() -> None:
    assert judge([10, 11, 12, 13]).moved == 0
    assert judge([10, 12, 11, 13]).moved == 0.5


def test_noise_is_a_multiple_of_what_the_precision_costs_and_never_nothing() -> None:
    exact = np.array([1.0, 2.0])
    found = key_noise(exact, exact + np.array([0.0, 1e-3]), 8)
    assert found.largest == pytest.approx(8e-3)
    assert found.rms == pytest.approx(8e-3 / np.sqrt(2))


@pytest.mark.parametrize("largest", [2.0, 1e-3])
def test_noise_is_never_less_than_a_quotient_of_float32_has(largest: float) -> None:
    """Twice the step of float32 near 1, 2^-23, of the largest key, and a quarter of that as root mean square."""
    exact = np.array([largest / 2, largest])
    least = key_noise(exact, exact, 8)
    assert least.largest == pytest.approx(8 * 2 * 2.0**-23 * largest, rel=1e-9)
    assert least.rms == pytest.approx(least.largest / 4, rel=1e-9)


@pytest.mark.parametrize(("largest", "rms", "passes"), [(1.0, ANY, True), (ANY, 1.0, True), (0.999, 1.0, False)])
def test_what_is_at_its_limit_passes(largest: float, rms: float, passes: bool) -> None:
    check = check_permutation(np.array([[0.0, 2.0]]), KeyNoise(largest, rms), np.array([[0, 1]]), np.array([[1, 0]]), 1)
    assert (check.disorder, check.displaced_rms) == (2.0, 2.0)
    assert check.passed == passes


def test_a_sorted_order_has_no_disorder_and_what_is_no_order_none_to_judge() -> None:
    assert judge([10, 11, 12, 13]).disorder == 0
    none = judge([10, 11, 11, 13])
    assert (none.disorder, none.displaced_rms, none.moved) == (0, 0, 1)
