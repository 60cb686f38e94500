"""How good answers are where a truth is at hand that is no class: what `--eval` measures of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .artifact import Outputs


class Truths(Protocol):
    """Files decoded, resized and cut as the model's input was."""

    def picture(self, file: Path) -> NDArray[np.uint8]:
        """A picture, uint8 [H, W, 3]."""

    def placed(self, rows: int, cols: int) -> tuple[int, int]:
        """Rows and columns, from the input's top left, that a picture of these takes in it."""

    def label_map(self, file: Path) -> NDArray[np.int32]:
        """A map of class numbers, [H, W], each pixel the nearest one's."""


class Tally(Protocol):
    """What is counted over all images of one model's answers."""

    def add(self, found: Outputs, pictures: Sequence[NDArray[np.uint8]], truths: Sequence[Path]) -> None:
        """Count some images.

        Args:
            found: outputs by name, [B, ...].
            pictures: what they were made of, uint8 [B, H, W, 3], one array an input.
            truths: the file of each image's truth.
        """

    @property
    def value(self) -> float:
        """The figure; the larger, the better."""

    @property
    def others(self) -> Mapping[str, float]:
        """Figures beside it, by what they are called with their unit; nothing is asked of them."""


class DividedTally(Tally, Protocol):
    """A tally whose parts, counted by several processes, are exactly that of the whole."""

    def plain(self) -> Any:
        """What was counted, as JSON holds it exactly: finite numbers, or floats in hexadecimal."""

    def extend(self, plain: Any, truths: Sequence[Path]) -> None:
        """Take in what was counted of the images that follow.

        Args:
            plain: of the other tally.
            truths: the file of each of these images' truths, as they are called here.
        """


@dataclass(frozen=True)
class Measure:
    """A figure of answers, the larger the better.

    Attributes:
        name: for people, "PSNR".
        unit: of the figure and of a drop, "dB".
        max_drop: what an artifact may lose where nobody says.
        pair: folders in which an image and its truth lie by equal names, and headings of both in a CSV list.
        tally: (reader of truths, the model's configuration) -> what counts one model's answers.
        listing: image -> truth, of a JSON file that holds the truths of all; None where there is no such form.
    """

    name: str
    unit: str
    max_drop: float
    pair: tuple[str, str]
    tally: Callable[[Truths, Any], Tally]
    listing: Callable[[Path], Mapping[Path, Path]] | None = None
