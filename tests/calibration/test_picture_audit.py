"""Pictures beside the mean and std that were assumed for them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from slide_export.calibration.audit import Statistics
from slide_export.calibration.picture_audit import _beside_assumption, compared
from slide_export.models import DataConfig

ASSUMED = ("mean", "std")


def pictures(mean: tuple[float, ...], std: float, *, grey: bool = False) -> np.ndarray:
    """Noise of a colour, uint8 [N, H, W, 3]."""
    drawn = np.random.default_rng(0).normal(mean, std, (20, 32, 32, 3))
    drawn = drawn[..., :1].repeat(3, axis=3) if grey else drawn
    return np.clip(drawn * 255, 0, 255).astype(np.uint8)


def test_pictures_like_those_of_the_training_are_said_to_be() -> None:
    (sentence,) = compared(pictures((0.45, 0.45, 0.45), 0.22), DataConfig(), ASSUMED, "photos")
    assert sentence.startswith("photos: 20 pictures hold RGB of (0.45, 0.45, 0.45) ±")
    assert sentence.endswith("(0.48, 0.46, 0.41) ± (0.23, 0.22, 0.23) is assumed: they are alike")


def test_other_colours_and_another_contrast_are_said_to_differ() -> None:
    for other in (pictures((0.7, 0.6, 0.5), 0.2), pictures((0.45, 0.45, 0.45), 0.1)):
        (sentence,) = compared(other, DataConfig(), ASSUMED, "photos")
        assert sentence.endswith("they differ, so say those of the training with --mean and --std")


def test_grey_pictures_are_not_what_a_mean_of_colours_is_for() -> None:
    grey = pictures((0.45, 0.45, 0.45), 0.22, grey=True)
    (sentence,) = compared(grey, DataConfig(), ASSUMED, "photos")
    assert "all are grey" in sentence
    same = DataConfig(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    assert compared(grey, same, ASSUMED, "photos")[0].endswith("they are alike")


def test_what_a_file_tells_is_held_to_what_calibration_is_held_to() -> None:
    assert compared(pictures((0.45, 0.45, 0.45), 0.22), DataConfig(), (), "photos") == ()
    (sentence,) = compared(pictures((0.97, 0.97, 0.97), 0.01), DataConfig(), (), "photos")
    assert sentence.startswith("photos: wrong-normalisation: expected about mean 0")


def test_a_model_that_normalises_nothing_takes_any_colours() -> None:
    plain = DataConfig(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    dark = pictures((0.05, 0.05, 0.05), 0.01)
    assert compared(dark, plain, ASSUMED, "photos") == compared(dark, plain, (), "photos") == ()
    assert compared(dark, DataConfig(), ASSUMED, "photos")


FLAT = DataConfig(mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2))


def said(data: DataConfig, centre: float = 0, width: float = 1, channel: int = 0, coloured: float = 9) -> str:
    """What is said of two pictures whose channel is so far off once it is normalised, and whose red is off green."""
    means = np.array([[102.0 + coloured, 102, 102], [102 - coloured, 102, 102]])
    means[:, channel] += 51 * centre
    squares = np.full((2, 3), 102.0**2 + 51**2)
    squares[:, channel] = means[:, channel].mean() ** 2 + (51 * width) ** 2
    statistics = Statistics(means, squares, np.ones(2), ("a", "b"), np.ones(256, np.int64))
    return _beside_assumption(statistics, data, "photos").rpartition("assumed: ")[2]


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_alike_is_within_half_a_deviation_and_about_the_same_contrast(channel: int) -> None:
    for centre, alike in ((-0.51, False), (-0.49, True), (0.49, True), (0.51, False)):
        assert (said(FLAT, centre, channel=channel) == "they are alike") is alike
    for width, alike in ((0.59, False), (0.61, True), (1.59, True), (1.61, False)):
        assert (said(FLAT, 0, width, channel) == "they are alike") is alike


@pytest.mark.parametrize(
    ("mean", "spread", "alike"), [(0.25, 0.5, True), (0.0, 0.3, True), (0.0, 0.8, True), (0.3, 0.5, False)]
)
def test_what_is_at_the_bound_is_alike(mean: float, spread: float, alike: bool) -> None:
    """Beside a mean of 0 and a std of 0.5, which divides exactly."""
    statistics: Any = SimpleNamespace(colours=(np.full(3, mean), np.full(3, spread)), means=np.array([[0.0, 9, 9]]))
    said = _beside_assumption(statistics, DataConfig((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)), "photos")
    assert said.endswith("they are alike") is alike


def test_grey_is_within_a_step_of_the_pixels() -> None:
    by_mean, by_std = DataConfig((0.4, 0.4, 0.41), FLAT.std), DataConfig(FLAT.mean, (0.2, 0.2, 0.21))
    for data in (by_mean, by_std):
        assert said(data, coloured=1.0).startswith("all are grey, where these differ by colour")
        assert said(data, coloured=1.01) == "they are alike"
    assert said(FLAT, coloured=1.0) == "they are alike"
