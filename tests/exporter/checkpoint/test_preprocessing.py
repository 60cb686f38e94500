"""The preprocessing in force: a file's, the user's, or an assumption that is said aloud."""

from typing import Any

import pytest

from slide_export.checkpoint.preprocessing import FoundPreprocessing, beside_the_model, in_force
from slide_export.core.errors import RequestError
from slide_export.core.preprocessing import read
from slide_export.models import DataConfig

SIZE = (224, 224)
FILE = "preprocessor_config.json"
WHOLE = dict.fromkeys(("mean", "std", "resize", "crop", "interpolation"), FILE)


@pytest.mark.parametrize(
    ("said", "size", "resized", "keep_aspect"),
    [
        ({"resize": "256"}, SIZE, (256, 256), True),
        ({"resize": "256x256"}, SIZE, (256, 256), False),
        ({"resize": "224x224"}, SIZE, (224, 224), False),
        ({"resize": "256", "crop": "224"}, (448, 448), (512, 512), True),  # the ratio of the training
        ({"resize": "232"}, (224, 448), (232, 464), True),
        ({"crop": "256"}, SIZE, (224, 224), True),  # 256 before the crop is the default's
    ],
)
def test_sizes_are_said_as_training_codes_have_them(
    said: dict[str, str], size: tuple[int, int], resized: tuple[int, int], keep_aspect: bool
) -> None:
    data = in_force(FoundPreprocessing(DataConfig()), read(said), size).data
    assert (data.resized(size), data.keep_aspect) == (resized, keep_aspect)


@pytest.mark.parametrize("said", [{"resize": "200"}, {"resize": "256x300"}, {"resize": "256", "crop": "320"}])
def test_sizes_that_do_not_go_together_are_refused(said: dict[str, str]) -> None:
    with pytest.raises(RequestError, match="expected resize and crop of one shape"):
        in_force(FoundPreprocessing(DataConfig()), read(said), SIZE)


def test_what_nobody_says_is_named_with_its_value_and_its_option() -> None:
    found = FoundPreprocessing(DataConfig(), {"std": FILE}, "the library's is assumed")
    settled = in_force(found, read({"mean": "0.5,0.5,0.5", "resize": "224x224"}), SIZE)
    assert settled.assumed == ("the library's is assumed: interpolation=bicubic (--interpolation says another)",)
    assert {one.name: one.source for one in settled.values} == {
        "mean": "--mean",
        "std": FILE,
        "resize": "--resize",
        "crop": "--resize",
        "interpolation": "assumed",
    }
    assert in_force(FoundPreprocessing(DataConfig(), WHOLE), read({}), SIZE).assumed == ()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"mean": "0.5,0.5,0.5"}, "expected mean 0.485,0.456,0.406, which preprocessor_config.json tells; found mean"),
        ({"interpolation": "bilinear"}, "expected interpolation bicubic"),
        ({"resize": "224x224"}, "expected resize 256"),
        ({"crop": "256"}, "expected resize 256"),
    ],
)
def test_what_a_file_tells_otherwise_is_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        in_force(FoundPreprocessing(DataConfig(), WHOLE), read(said), SIZE)
    same = {"mean": "0.485,0.456,0.406", "interpolation": "bicubic", "resize": "256", "crop": "224"}
    assert in_force(FoundPreprocessing(DataConfig(), WHOLE), read(same), SIZE).data == DataConfig()


@pytest.mark.parametrize(
    ("dropped", "told", "said"),
    [
        (("mean", "std"), {}, ("mean, std beside",)),
        (("normalize.pixel_mean",), {}, ("normalize.pixel_mean beside",)),
        (("criterion.weight",), {}, ()),
        (("mean",), WHOLE, ()),  # a file tells them
    ],
)
def test_colours_beside_the_model_are_named(
    dropped: tuple[str, ...], told: dict[str, str], said: tuple[str, ...]
) -> None:
    values = in_force(FoundPreprocessing(DataConfig(), told), read({}), SIZE).values
    found = beside_the_model(dropped, values)
    assert len(found) == len(said)
    assert all(one.startswith(begun) for one, begun in zip(found, said, strict=True))


def test_a_whole_picture_is_fitted_where_the_user_says_so_and_no_more_where_a_size_is_said() -> None:
    fitted = in_force(FoundPreprocessing(DataConfig()), read({"resize": "fit"}), SIZE)
    assert fitted.data.fits
    assert {one.name: (one.value, one.source) for one in fitted.values}["resize"] == ("fit", "--resize")
    sized = in_force(FoundPreprocessing(fitted.data), read({"resize": "224x224"}), SIZE)
    assert not sized.data.fits
    with pytest.raises(RequestError, match=r"expected resize 224x224, which .* tells; found resize fit"):
        told = FoundPreprocessing(DataConfig(keep_aspect=False, scale=1.0), WHOLE)
        in_force(told, read({"resize": "fit"}), SIZE)
    with pytest.raises(RequestError, match="crop without resize fit"):
        read({"resize": "fit", "crop": "224"})
