"""What a user may say of preprocessing: written as text, read back, or refused with what it should be."""

from typing import Any

import pytest

from slide_export.core.errors import RequestError
from slide_export.core.preprocessing import SaidPreprocessing, read, refuse_size, written


def test_values_of_python_are_written_as_the_command_line_has_them() -> None:
    said = {"mean": (0.5, 0.25, 1), "std": [0.5, 0.25, 1.0], "resize": 256, "crop": (224, 320), "interpolation": None}
    assert written(said) == {"mean": "0.5,0.25,1", "std": "0.5,0.25,1.0", "resize": "256", "crop": "224x320"}
    assert read(written(said)) == SaidPreprocessing((0.5, 0.25, 1), (0.5, 0.25, 1), (256,), (224, 320))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mean", "123.675,116.28,103.53", "mean as three numbers of 0..1.*divide colours of 0..255 by 255"),
        ("std", (58.395, 57.12, 57.375), "divide colours of 0..255 by 255"),
        ("mean", "nan,0,0", "found 'nan,0,0'$"),
        ("mean", "-0.1,0,0", "three numbers of 0..1"),
        ("mean", "0.5", "three numbers"),
        ("mean", "", "three numbers"),
        ("mean", object(), "three numbers"),
        ("std", "0.5,0.5,0", "three numbers over 0"),
        ("std", "0.5,0.5,inf", "three numbers over 0"),
        ("resize", "²", "short side"),
        ("resize", "9" * 5000, "of 1 to 4096 pixels a side"),
        ("resize", "0", "short side"),
        ("resize", "1x2x3", "short side"),
        ("crop", "-224", "rows and columns"),
        ("crop", 100000, "of 1 to 4096 pixels a side"),
        ("interpolation", "lanczos", "bicubic or bilinear"),
        ("means", "0,0,0", "found 'means'"),
    ],
)
def test_other_values_are_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        written({name: value})


def test_an_input_that_nothing_can_hold_is_refused_at_once() -> None:
    refuse_size((4096, 1))
    with pytest.raises(RequestError, match="of 1 to 4096 pixels a side, found 100000x100000"):
        refuse_size((100000, 100000))


def test_the_largest_and_the_smallest_values_are_taken() -> None:
    assert read({"resize": "4096x1"}).resize == (4096, 1)
    assert not read({"resize": "4096x1"}).fits
    assert (read({"resize": "fit"}).resize, read({"resize": "fit"}).fits) == (None, True)
    assert read({"mean": "0,1,0.5"}).mean == (0.0, 1.0, 0.5)
    assert read({"std": "0.001,1,1"}).std == (0.001, 1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("resize", "4097", "of 1 to 4096 pixels a side$"),
        ("crop", "0x4", "of 1 to 4096 pixels a side$"),
        ("mean", "0,0,1.01", "divide colours of 0..255 by 255$"),
        ("mean", "0,0,255", "divide colours of 0..255 by 255$"),
        ("mean", "0,0,256", "found '0,0,256'$"),
        ("mean", "1,-0.1,0", "found '1,-0.1,0'$"),
        ("interpolation", "lanczos", "found 'lanczos'$"),
        ("mean", "0,0", "found '0,0'$"),
        ("mean", "0,0,0,0", "found '0,0,0,0'$"),
    ],
)
def test_what_is_beyond_them_is_refused(name: str, text: str, hint: str) -> None:
    with pytest.raises(RequestError, match=hint):
        read({name: text})


@pytest.mark.parametrize("size", [(0, 4), (4097, 4)])
def test_an_input_beyond_the_bounds_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(RequestError, match=f"found {size[0]}x4"):
        refuse_size(size)
    refuse_size(None)
