"""Resize, crop and normalise, against PIL and the formula."""

import numpy as np
import pytest
from PIL import Image

from slide_export.core.errors import CalibrationError
from slide_export.inference import preprocess
from slide_export.inference.preprocess import crop, normalise
from slide_export.models import DataConfig


def gradient(width: int, height: int) -> Image.Image:
    rows, cols = np.mgrid[0:height, 0:width]
    values = np.stack((rows * 255 // height, cols * 255 // width, rows * 0 + 7), axis=-1)
    return Image.fromarray(values.astype(np.uint8))


def test_square_resize_ignores_the_aspect() -> None:
    picture = gradient(300, 200)
    expected = picture.resize((256, 256), Image.Resampling.BICUBIC).crop((16, 16, 240, 240))
    assert np.array_equal(crop(picture, DataConfig(keep_aspect=False), (224, 224)), np.asarray(expected))


@pytest.mark.parametrize(("width", "height", "resized"), [(300, 200, (384, 256)), (200, 300, (256, 384))])
def test_short_side_resize_keeps_the_aspect(width: int, height: int, resized: tuple[int, int]) -> None:
    picture = gradient(width, height)
    left, top = (resized[0] - 224) // 2, (resized[1] - 224) // 2
    expected = picture.resize(resized, Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224))
    assert np.array_equal(crop(picture, DataConfig(), (224, 224)), np.asarray(expected))


def test_an_image_of_the_right_size_is_left_alone() -> None:
    picture = gradient(64, 64)
    assert np.array_equal(crop(picture, DataConfig(keep_aspect=False, scale=1.0), (64, 64)), np.asarray(picture))


@pytest.mark.parametrize(("margin", "cut"), [(1, 0), (3, 2), (5, 2)])
def test_half_a_pixel_goes_to_the_even_side_as_torchvisions_does(margin: int, cut: int) -> None:
    """Source: torchvision, transforms/functional.py, center_crop: int(round((height - crop_height) / 2.0))."""
    picture = gradient(64 + margin, 64 + margin)
    data = DataConfig(keep_aspect=False, scale=(64 + margin) / 64)
    expected = picture.crop((cut, cut, cut + 64, cut + 64))
    assert np.array_equal(crop(picture, data, (64, 64)), np.asarray(expected))


def test_gray_becomes_rgb_and_non_square_crops_work() -> None:
    assert crop(gradient(90, 90).convert("L"), DataConfig(), (32, 64)).shape == (32, 64, 3)


def test_an_oblong_crop_is_in_the_middle_of_both_sides() -> None:
    picture = gradient(72, 36)
    data = DataConfig(keep_aspect=False, scale=1.125)
    assert np.array_equal(crop(picture, data, (32, 64)), np.asarray(picture.crop((4, 2, 68, 34))))


def test_normalise_is_the_formula_channels_first() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    data = DataConfig()
    expected = ((pictures / 255 - data.mean) / data.std).transpose(0, 3, 1, 2)
    found = normalise(pictures, data)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-6


def test_a_picture_has_as_many_pixels_as_pillow_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert preprocess.LARGEST_PIXELS == Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(preprocess, "LARGEST_PIXELS", 64 * 48)
    data = DataConfig(keep_aspect=False, scale=1.0)
    assert crop(gradient(9, 9), data, (64, 48)).shape == (64, 48, 3)
    with pytest.raises(CalibrationError, match="that becomes 64x49: cut it"):
        crop(gradient(9, 9), data, (64, 49))


@pytest.mark.parametrize(
    ("width", "height", "cut"), [(64, 32, True), (70, 32, True), (64, 40, True), (63, 40, False), (70, 31, False)]
)
def test_a_picture_that_holds_the_input_is_cut_where_none_is_resized(width: int, height: int, cut: bool) -> None:
    picture, data = gradient(width, height), DataConfig(resizes=False)
    left, top = (width - 64) // 2, (height - 32) // 2
    middle = np.asarray(picture.crop((left, top, left + 64, top + 32)))
    found = crop(picture, data, (32, 64))
    assert found.shape == (32, 64, 3)
    assert np.array_equal(found, middle) is cut


def test_a_whole_picture_is_fitted_into_an_oblong_input() -> None:
    found = crop(gradient(20, 40), DataConfig(fits=True), (32, 64))
    assert found.shape == (32, 64, 3)
    assert (found[:, 16:] == DataConfig().fill).all()


@pytest.mark.parametrize(("width", "height", "taken"), [(90, 45, (32, 64)), (45, 90, (32, 16)), (7, 64, (32, 4))])
def test_a_whole_picture_is_fitted_at_the_top_left_and_the_rest_is_the_mean(
    width: int, height: int, taken: tuple[int, int]
) -> None:
    data = DataConfig(interpolation="bilinear", fits=True)
    rows, cols = taken
    picture = gradient(width, height)
    found = crop(picture, data, (32, 64))
    assert np.array_equal(found[:rows, :cols], np.asarray(picture.resize((cols, rows), Image.Resampling.BILINEAR)))
    assert (found[rows:] == data.fill).all()
    assert (found[:, cols:] == data.fill).all()
    filled = normalise(np.full((1, 1, 1, 3), data.fill, np.uint8), data)
    assert np.abs(filled).max() <= 0.5 / 255 / min(data.std)  # 0 but for the rounding to 8 bits


def test_what_is_filled_of_a_label_map_has_no_class() -> None:
    numbers = Image.fromarray(np.full((10, 20), 3, np.int32))
    found = preprocess.crop_label_map(numbers, DataConfig(fits=True), (16, 16))
    assert (found[:8] == 3).all()
    assert (found[8:] == 255).all()
