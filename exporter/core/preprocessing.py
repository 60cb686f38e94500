"""What a user says of a model's preprocessing that no file tells: mean, std, resize, crop, interpolation.

    written({"mean": (0.5, 0.5, 0.5), "resize": 256})   ->  {"mean": "0.5,0.5,0.5", "resize": "256"}
    read({"mean": "0.5,0.5,0.5", "resize": "256"})      ->  SaidPreprocessing(mean=(0.5, 0.5, 0.5), resize=(256,))

It travels as the texts, which the command line, a manifest and a request in JSON hold alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from .errors import RequestError, option
from .whole_number import is_number

LARGEST_SIDE = 4096  # rows or columns: one more doubling, and a map at a quarter of it has four million positions
LARGEST_COLOUR = 255
INTERPOLATIONS = ("bicubic", "bilinear")
EXPECTED = {
    "mean": "three numbers of 0..1, 0.485,0.456,0.406",
    "std": "three numbers over 0 and at most 1, 0.229,0.224,0.225",
    "resize": "the short side, 256, both sides, 256x256, or fit",
    "crop": "rows and columns after the centre crop, 224 or 224x320",
    "interpolation": " or ".join(INTERPOLATIONS),
}
"""How each is written; these are the names of all."""
HELP = {
    "mean": "subtracted from RGB in 0..1",
    "std": "RGB is divided by it after the mean is subtracted",
    "resize": "size before the centre crop; one number keeps the aspect; fit shows the whole picture, the rest filled",
    "crop": "the centre crop that `resize` goes with; at another input the two keep their ratio",
    "interpolation": "filter of the resizing",
}


class PreprocessingOptions(TypedDict, total=False):
    """Options of that name in Python; each may be the text of the command line, too.

    Attributes:
        mean, std: of RGB in 0..1, three numbers each; what the checkpoint tells, or an assumption that is said aloud.
        resize: the short side before the crop, or both sides, or "fit": the whole picture at its ratio, what is left
            of the input filled; like the next two, as the checkpoint tells.
        crop: rows and columns of the centre crop, where `resize` goes with another one than the input.
        interpolation: "bicubic" or "bilinear".
    """

    mean: Sequence[float] | str | None
    std: Sequence[float] | str | None
    resize: int | Sequence[int] | str | None
    crop: int | Sequence[int] | str | None
    interpolation: str | None


@dataclass(frozen=True)
class SaidPreprocessing:
    """What was said; None where nothing was.

    Attributes:
        mean, std: of RGB in 0..1.
        resize: the short side, or rows and columns, before the crop.
        crop: rows and columns.
        fits: whether whole pictures are fitted into the input, the rest filled.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: tuple[int, ...] | None = None
    crop: tuple[int, ...] | None = None
    interpolation: str | None = None
    fits: bool = False


FIT = "fit"


def written(options: Mapping[str, Any]) -> dict[str, str]:
    """Write options as the command line has them; those that are None are left out.

    Raises:
        RequestError: one is not what it is to be.
    """
    texts = {name: _text(name, value) for name, value in options.items() if value is not None}
    read(texts)
    return texts


def _text(name: str, value: Any) -> str:
    if isinstance(value, str | int | float):
        return str(value)
    try:
        return ("x" if name in ("resize", "crop") else ",").join(map(str, value))
    except TypeError as error:
        raise _refusal(name, value) from error


def read(texts: Mapping[str, str]) -> SaidPreprocessing:
    """Read what was said.

    Raises:
        RequestError: a name does not exist, or a value is not what it is to be.
    """
    if unknown := texts.keys() - EXPECTED.keys():
        raise RequestError(f"expected preprocessing of {', '.join(EXPECTED)}; found {min(unknown)!r}")
    interpolation = texts.get("interpolation")
    if interpolation is not None and interpolation not in INTERPOLATIONS:
        raise _refusal("interpolation", interpolation)
    fits = texts.get("resize") == FIT
    if fits and "crop" in texts:
        raise RequestError(f"expected {option('crop')} without {option('resize')} fit, which cuts nothing; found both")
    return SaidPreprocessing(
        _channels("mean", texts.get("mean")),
        _channels("std", texts.get("std")),
        None if fits else _sides("resize", texts.get("resize")),
        _sides("crop", texts.get("crop")),
        interpolation,
        fits,
    )


def _channels(name: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise _refusal(name, text) from error
    if len(values) == 3 and all(0 <= value <= 1 for value in values) and (name == "mean" or min(values) > 0):
        return values
    hint = ": divide colours of 0..255 by 255" if 1 < max(values, key=_finite) <= LARGEST_COLOUR else ""
    raise _refusal(name, text, hint)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _sides(name: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.split("x")
    if len(parts) > 2 or not all(is_number(part) and 1 <= int(part) <= LARGEST_SIDE for part in parts):
        raise _refusal(name, text, f" of 1 to {LARGEST_SIDE} pixels a side")
    return tuple(map(int, parts))


def _refusal(name: str, found: Any, hint: str = "") -> RequestError:
    return RequestError(f"expected {option(name)} as {EXPECTED[name]}; found {str(found)[:60]!r}{hint}")


def refuse_size(size: tuple[int, int] | None) -> None:
    """Refuse an input that no machine holds the maps of, before a model is built for it.

    Raises:
        RequestError: a side is no positive number, or too large.
    """
    if size is not None and not all(1 <= side <= LARGEST_SIDE for side in size):
        raise RequestError(
            f"expected {option('input_size')} of 1 to {LARGEST_SIDE} pixels a side, found {size[0]}x{size[1]}"
        )
