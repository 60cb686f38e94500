"""preprocessor_config.json: how sizes and crops are read, the defaults of each processor, what is refused."""

from typing import Any

import pytest

from slide_export.models.data import IMAGENET_MEAN, IMAGENET_STD
from slide_export.models.family import ShapeError
from slide_export.models.formats.transformers_images import images_told, read_images

HALF = [0.5, 0.5, 0.5]
TOLD: dict[str, Any] = {"size": 64, "image_mean": HALF, "image_std": HALF, "resample": 3}


def test_transformers_that_resize_to_another_size_than_the_models() -> None:
    told = {"size": {"height": 256, "width": 256}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}
    data, assumed = read_images(told, {}, "vit", (224, 224))
    assert data.resized((224, 224)) == (224, 224)
    assert "resizes to 256x256" in assumed[0]
    assert read_images({**told, "size": 224}, {}, "vit", (224, 224))[1] == ()


@pytest.mark.parametrize(
    ("kind", "version", "mean", "filter_"),
    [
        ("vit", "5.24.0", (0.5,) * 3, "bilinear"),
        ("vit", "4.57.6", (0.5,) * 3, "bilinear"),
        ("pvt", "4.57.6", IMAGENET_MEAN, "bilinear"),
        ("pvt", "5.0.0", IMAGENET_MEAN, "bicubic"),
        ("pvt", "", IMAGENET_MEAN, "bicubic"),
    ],
)
def test_the_default_is_that_of_the_processor_and_its_release(
    kind: str, version: str, mean: tuple[float, ...], filter_: str
) -> None:
    data, assumed = read_images({}, {"transformers_version": version}, kind, (64, 64))
    assert (data.mean, data.interpolation, data.keep_aspect, data.scale) == (mean, filter_, False, 1.0)
    assert f"transformers' default is assumed ({filter_}, " in assumed[0]
    assert ("standard deviation 0.5" in assumed[0]) == (kind == "vit")


def test_a_field_that_is_not_told_is_the_processors_default() -> None:
    data, assumed = read_images({"size": 64}, {}, "pvt", (64, 64))
    assert (data.mean, data.std, data.interpolation, assumed) == (IMAGENET_MEAN, IMAGENET_STD, "bicubic", ())
    assert read_images({"size": 64}, {}, "vit", (64, 64))[0].std == (0.5,) * 3


@pytest.mark.parametrize(("resample", "name"), [(2, "bilinear"), (3, "bicubic"), ("bicubic", "bicubic")])
def test_filters_are_pillows_numbers_or_names(resample: Any, name: str) -> None:
    assert read_images({**TOLD, "resample": resample}, {}, "vit", (64, 64))[0].interpolation == name


@pytest.mark.parametrize("factor", [1 / 255, 0.00392156862745098, 1 / 255 + 0.9e-9, None])
def test_pictures_are_rescaled_to_1(factor: float | None) -> None:
    assert read_images({**TOLD, "rescale_factor": factor}, {}, "vit", (64, 64))[0].mean == (0.5,) * 3


@pytest.mark.parametrize(
    "changes",
    [
        {"rescale_factor": 1 / 255 + 1.1e-9},
        {"rescale_factor": 1 / 256},
        {"resample": 0},
        {"do_rescale": False},
        {"do_resize": False},
        {"do_pad": True},
        {"do_flip_channel_order": True},
        {"do_reduce_labels": True},
        {"image_std": [1.0, 1.0]},
        {"image_mean": ["a", "b", "c"]},
    ],
)
def test_what_changes_a_picture_and_is_not_modelled_is_refused(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(ShapeError, match=rf"^{name} .* in preprocessor_config\.json"):
        read_images({**TOLD, **changes}, {}, "vit", (64, 64))


def test_fields_that_are_not_known_are_said_up_to_eight() -> None:
    told = {**TOLD, **{f"x{number}": 0 for number in range(9)}, "_note": 0, "do_pad": None}
    assert read_images(told, {}, "vit", (64, 64))[1] == (
        "preprocessor_config.json also has x0, x1, x2, x3, x4, x5, x6, x7: taken for what changes no picture",
    )


def test_colours_that_are_not_normalised_stay_as_they_are() -> None:
    data, _ = read_images({**TOLD, "do_normalize": False}, {}, "vit", (64, 64))
    assert (data.mean, data.std, data.normalises) == ((0.0,) * 3, (1.0,) * 3, False)
    assert {"mean", "std"} <= images_told({"do_normalize": False}).keys()
    assert read_images({**TOLD, "do_normalize": None}, {}, "vit", (64, 64))[0].normalises


def test_what_is_told_of_the_pictures_is_named() -> None:
    assert images_told({}) == {}
    assert set(images_told({"size": 64, "image_std": HALF})) == {"resize", "crop", "std"}
    assert set(images_told({"resample": 2, "image_mean": HALF})) == {"interpolation", "mean"}


@pytest.mark.parametrize(
    ("changes", "keep_aspect", "resized", "guesses"),
    [
        ({"size": {"height": 64, "width": 64}}, False, 64, 0),
        ({"size": {"height": 64, "width": 80}}, False, 64, 1),
        ({"size": 80, "do_center_crop": True}, False, 80, 0),  # cropped to the input
        ({"size": 80, "do_center_crop": True, "crop_size": 40}, False, 128, 0),
        ({"size": {"shortest_edge": 80}, "do_center_crop": True}, True, 80, 0),
        ({"size": {"shortest_edge": 80}}, True, 80, 1),
        ({"size": {"shortest_edge": 80}, "crop_pct": 0.8}, True, 80, 0),
        ({"size": {"shortest_edge": 80}, "crop_pct": None, "do_center_crop": True}, True, 80, 0),
        ({"size": 80, "crop_pct": 0.5, "do_center_crop": True}, False, 80, 0),  # of no short side: not read
        ({"size": {"shortest_edge": 96}, "do_center_crop": True, "crop_size": [48, 1]}, True, 128, 0),
    ],
)  # fmt: skip
def test_sizes_and_crops(changes: dict[str, Any], keep_aspect: bool, resized: int, guesses: int) -> None:
    data, assumed = read_images({**TOLD, **changes}, {}, "vit", (64, 64))
    assert (data.keep_aspect, data.resized((64, 64))[0], len(assumed)) == (keep_aspect, resized, guesses)


@pytest.mark.parametrize("size", [{"height": 64}, {"shortest_edge": "64"}, "64"])
def test_a_size_that_is_no_number_is_refused(size: Any) -> None:
    with pytest.raises(ShapeError, match=r"^size"):
        read_images({**TOLD, "size": size}, {}, "vit", (64, 64))
