"""How good answers are where a truth is at hand that is no class: what `--eval` measures of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .artifact import Outputs

    ReadPicture: TypeAlias = Callable[[Path], NDArray[np.uint8]]
    """Decodes a file, resizes and cuts it as the model's input: uint8 [H, W, 3]."""


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


@dataclass(frozen=True)
class Measure:
    """A figure of answers, the larger the better.

    Attributes:
        name: for people, "PSNR".
        unit: of the figure and of a drop, "dB".
        max_drop: what an artifact may lose where nobody says.
        pair: folders in which an image and its truth lie by equal names, and headings of both in a CSV list.
        tally: from a reader of pictures to what counts one model's answers.
    """

    name: str
    unit: str
    max_drop: float
    pair: tuple[str, str]
    tally: Callable[[ReadPicture], Tally]
