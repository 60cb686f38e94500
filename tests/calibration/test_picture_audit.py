"""Pictures beside the mean and std that were assumed for them."""

import numpy as np

from slide_export.calibration.picture_audit import compared
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
