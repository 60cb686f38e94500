"""One image to the image without its noise, or to the noise itself: no decision is made.

The family's module gives the noise of images in 0..1; what is restored is the image less that, not cut to 0..1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slide_export.core.errors import RequestError
from slide_export.core.measure import Measure
from slide_export.core.task import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from slide_export.core.artifact import ModelIO, Outputs
    from slide_export.core.measure import Truths

RESTORED, NOISE = "restored", "noise"
NOISY, CLEAN = "noisy", "clean"
MAX_DROP_DB = 0.1
"""Of PSNR: a tenth of what separates one published model of SIDD from the next."""
LEAST_ERROR = 1e-12  # mean square: a PSNR of 120 dB, beyond what float32 tells


def outputs(io: ModelIO) -> tuple[str, ...]:
    """The output that was asked for."""
    return (io.output or RESTORED,)


def run(module: nn.Module, images: tuple[Tensor, ...], io: ModelIO) -> tuple[Tensor, ...]:
    """Restored images or their noise, [B, 3, H, W], for images [B, 3, H, W] in 0..1."""
    noise: Tensor = module(*images)
    return (noise if io.output == NOISE else images[0] - noise,)


def check(io: ModelIO, _config: Any) -> None:
    """Refuse what only scores of classes can have.

    Raises:
        RequestError: softmax or labels of an image.
    """
    if io.softmax or io.labels:
        raise RequestError("expected an image's restoration without softmax and labels: it has no classes")


def draw(found: Outputs, _labels: Sequence[str]) -> tuple[str, ...]:
    """Range and spread: "restored  0.02 to 0.98", "noise  0.051 rms, -0.21 to 0.19"."""
    ((name, value),) = found.items()
    image = np.asarray(value, np.float64)
    spread = f"{np.sqrt(np.square(image).mean()):.3g} rms, " if name == NOISE else ""
    return (f"{name}  {spread}{image.min():.3g} to {image.max():.3g}",)


def picture(found: Outputs, pictures: Sequence[NDArray[np.uint8]], _config: Any) -> NDArray[np.uint8]:
    """Before and after side by side, uint8 [H, 2W, 3]; noise around a middle gray."""
    ((name, value),) = found.items()
    after = value[0].transpose(1, 2, 0) + (0.5 if name == NOISE else 0)
    return np.concatenate([pictures[0], np.rint(after.clip(0, 1) * 255).astype(np.uint8)], axis=1)


class PeakSignal:
    """Mean over images of the PSNR, 10 log10(1 / mean square error) in dB, of values in 0..1, at most 120.

    Args:
        truths: decodes and cuts the clean picture of a file as the noisy one was cut.
    """

    def __init__(self, truths: Truths, _config: Any) -> None:
        self.read = truths.picture
        self.found: list[float] = []

    def add(self, found: Outputs, pictures: Sequence[NDArray[np.uint8]], truths: Sequence[Path]) -> None:
        """Count images [B, 3, H, W] with the pictures that they were made of, uint8 [B, H, W, 3]."""
        ((name, value),) = found.items()
        for image, before, truth in zip(value, pictures[0], truths, strict=True):
            made = image.transpose(1, 2, 0).astype(np.float64)
            restored = before / 255 - made if name == NOISE else made
            error = float(np.square(restored - self.read(truth) / 255).mean())
            self.found.append(10 * float(np.log10(1 / max(error, LEAST_ERROR))))

    def plain(self) -> list[str]:
        """The figure of each image in hexadecimal, which is exact and knows infinity."""
        return [value.hex() for value in self.found]

    def extend(self, plain: Any, _truths: Sequence[Path]) -> None:
        """Take in the images that follow."""
        self.found += map(float.fromhex, plain)

    @property
    def value(self) -> float:
        """The mean."""
        return sum(self.found) / len(self.found)

    @property
    def others(self) -> dict[str, float]:
        """None."""
        return {}


RESTORE = Task(
    "restore",
    outputs,
    run,
    draw,
    choices=(RESTORED, NOISE),
    check=check,
    measure=Measure("PSNR", "dB", MAX_DROP_DB, (NOISY, CLEAN), PeakSignal),
    picture=picture,
)
