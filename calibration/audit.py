"""Are these images fit to calibrate on? Findings by name; an error refuses unless the recipe's `accept` has its name.

    random-images         pictures without structure: ranges of noise are not those of photographs
    constant-images       pictures of one colour
    duplicate-images      the same pixels again: fewer images than it seems
    few-images            too few for the ranges to be those of all images
    wrong-normalisation   far from what the checkpoint's mean and std expect
    channel-order         blue and red seem exchanged
    narrow-range          most of 0..255 never occurs

`quantization` adds calibrated-on-proof and calibrated-on-evaluation, where too few other images are left.

Every check sees the pixels that the model sees, except randomness, which resizing would hide: that is measured on the
file's own pixels. Noise that was smoothed before it was saved passes for texture.
Source: the cost of random calibration images is 17 points in mlcommons/mobile_app_open issue 865.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slide_export.calibration.report import AuditFinding, CalibrationReport
from slide_export.core.errors import CalibrationError

from .image_cache import ImageCache
from .recipe import ACCEPTABLE

if TYPE_CHECKING:
    from slide_export.models import DataConfig

MAX_BAD_SHARE = 0.1  # share of images that may be random or constant before ranges suffer
MIN_NEIGHBOUR_CORRELATION = (
    0.3  # correlation of neighbouring pixels: white noise has 0.0, grass.jpg 0.6, photographs 0.8 and more
)
MIN_PIXEL_DEVIATION = 2.0  # standard deviation of the pixels, of 255
MIN_DISTINCT_SHARE = 0.5  # of the images; fewer different ones are an error
MIN_CALIBRATION_IMAGES = 32  # images; more narrow the ranges' error by little (NNCF and Intel advise 300)
MAX_NORMALISED_MEAN = 1.8  # of the normalised images, where training has about 0; a set of night skies has 1.8
NORMALISED_STD_RANGE = (0.15, 3.0)  # of the normalised images: training has about 1, a checkpoint's std of 1 gives 0.25
MIN_RED_BLUE_DIFFERENCE = 0.03  # of the checkpoint's means; closer ones do not show the order
MIN_COLOURED_IMAGES = 16  # fewer do not show the order
MIN_STANDARD_ERRORS = 4.0  # of the mean difference of red and blue, before the order counts as swapped
MIN_VALUE_RANGE_SHARE = 0.25  # of 0..255, without the outermost percent on each side

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Statistics:
    """Of all images.

    Attributes:
        means: of red, green and blue of each image, 0..255, [N, 3].
        deviations: of an image's pixels from its mean colour, [N].
        squares: mean of the squares, like the means.
        digests: of the pixels.
        histogram: of all values, [256].
    """

    means: NDArray[np.float64]
    squares: NDArray[np.float64]
    deviations: NDArray[np.float64]
    digests: tuple[str, ...]
    histogram: NDArray[np.int64]

    @property
    def colours(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and deviation of each channel over all pixels, 0..1."""
        mean = self.means.mean(axis=0) / 255
        return mean, np.sqrt(np.maximum(self.squares.mean(axis=0) / 255**2 - mean**2, 0))


def audit(pictures: ImageCache, accept: tuple[str, ...] = ()) -> CalibrationReport:
    """What is calibrated on, and every finding about it.

    Raises:
        CalibrationError: an error was found that `accept` does not name.
    """
    stacked = (np.concatenate(pictures.store.load(file)) for file in pictures.files)  # a sample of two inputs is one
    statistics, data = statistics_of(stacked), pictures.store.data
    found = (
        *_share("random-images", _random(pictures), pictures.names, "photographs", "noise"),
        *_share(
            "constant-images",
            statistics.deviations < MIN_PIXEL_DEVIATION,
            pictures.names,
            "pictures",
            "a single colour",
        ),
        *_duplicates(statistics, pictures.names),
        *_few(statistics),
        *normalisation(statistics, data),
        *channel_order(statistics, data),
        *_narrow(statistics),
    )
    refused = [finding for finding in found if finding.severity == "error" and finding.name not in accept]
    if refused:
        more = f" (and {', '.join(finding.name for finding in refused[1:])})" if refused[1:] else ""
        meant = f"; if that is as meant, say so in a quantization recipe, accept: [{refused[0].name}]"
        hint = meant if refused[0].name in ACCEPTABLE else ""
        raise CalibrationError(f"{refused[0].name}: {refused[0].message}{more}{hint}")
    for finding in found:
        _log.warning("%s: %s", finding.name, finding.message)
    total = hashlib.sha256("".join(statistics.digests).encode()).hexdigest()
    return CalibrationReport(pictures.source, len(pictures), total, found)


def statistics_of(pictures: Iterable[NDArray[np.uint8]]) -> Statistics:
    """Statistics of cropped pictures, uint8 [H, W, 3]."""
    means, squares, deviations, digests = [], [], [], []
    histogram = np.zeros(256, np.int64)
    for picture in pictures:
        values = picture.reshape(-1, 3).astype(np.float64)
        means.append(values.mean(axis=0))
        squares.append(np.square(values).mean(axis=0))
        deviations.append(float(np.sqrt(values.var(axis=0).mean())))
        digests.append(hashlib.sha256(picture.tobytes()).hexdigest())
        histogram += np.bincount(picture.reshape(-1), minlength=256)
    return Statistics(np.array(means), np.array(squares), np.array(deviations), tuple(digests), histogram)


def _random(pictures: ImageCache) -> NDArray[np.bool_]:
    random: NDArray[np.bool_] = np.abs(np.array(pictures.smoothness)) < MIN_NEIGHBOUR_CORRELATION
    return random


def _share(
    name: str, wrong: NDArray[np.bool_], names: tuple[str, ...], expected: str, found: str
) -> Iterator[AuditFinding]:
    if not wrong.any():
        return
    first = names[int(np.flatnonzero(wrong)[0])]
    severity = "error" if wrong.mean() > MAX_BAD_SHARE else "warning"
    yield AuditFinding(
        name, severity, f"expected {expected}, found {found} in {wrong.sum()} of {len(names)}, the first is {first}"
    )


def _duplicates(statistics: Statistics, names: tuple[str, ...]) -> Iterator[AuditFinding]:
    first: dict[str, str] = {}
    again = [(name, first.setdefault(digest, name)) for name, digest in zip(names, statistics.digests, strict=True)]
    copies = [(name, origin) for name, origin in again if name != origin]
    if copies:
        severity = "error" if len(first) < MIN_DISTINCT_SHARE * len(names) else "warning"
        name, origin = copies[0]
        message = f"expected {len(names)} different images, found {len(first)}; {name} is {origin} again"
        yield AuditFinding("duplicate-images", severity, message)


def _few(statistics: Statistics) -> Iterator[AuditFinding]:
    count = len(set(statistics.digests))
    if count < MIN_CALIBRATION_IMAGES:
        yield AuditFinding(
            "few-images",
            "warning",
            f"expected {MIN_CALIBRATION_IMAGES} images or more, found {count}: others may exceed their ranges",
        )


def normalisation(statistics: Statistics, data: DataConfig) -> Iterator[AuditFinding]:
    """Find images that are far from mean 0 and deviation 1 once they are normalised."""
    mean, spread = statistics.colours
    centre, width = (mean - data.mean) / data.std, spread / data.std
    if data.normalises and (
        np.abs(centre).max() > MAX_NORMALISED_MEAN
        or width.min() < NORMALISED_STD_RANGE[0]
        or width.max() > NORMALISED_STD_RANGE[1]
    ):
        yield AuditFinding(
            "wrong-normalisation",
            "error",
            "expected about mean 0 and deviation 1 once the checkpoint's mean and std are applied, found mean "
            f"{numbers(centre)} and deviation {numbers(width)}: the images hold RGB of {numbers(mean)} ± "
            f"{numbers(spread)}, the checkpoint expects {numbers(data.mean)} ± {numbers(data.std)}; give pictures "
            "of 0..255 that nothing has normalised, or mend the checkpoint's mean and std",
        )


def numbers(values: object) -> str:
    """Write a colour."""
    return "(" + ", ".join(f"{value:.2g}" for value in np.asarray(values)) + ")"


def channel_order(statistics: Statistics, data: DataConfig) -> Iterator[AuditFinding]:
    """Find images whose red and blue differ the other way around than the checkpoint's means."""
    usual = data.mean[0] - data.mean[2]
    difference = (statistics.means[:, 0] - statistics.means[:, 2]) / 255
    coloured = difference[np.ptp(statistics.means, axis=1) > 1]
    if abs(usual) < MIN_RED_BLUE_DIFFERENCE or len(coloured) < MIN_COLOURED_IMAGES:
        return
    error = float(coloured.std(ddof=1)) / len(coloured) ** 0.5
    if -float(coloured.mean()) * np.sign(usual) > MIN_STANDARD_ERRORS * error:
        yield AuditFinding(
            "channel-order",
            "error",
            f"expected red {usual:+.2f} of blue as the checkpoint's mean has it, found {coloured.mean():+.2f} ± "
            f"{error:.2f} over {len(coloured)} images: the channels seem to be BGR; give RGB",
        )


def _narrow(statistics: Statistics) -> Iterator[AuditFinding]:
    below = statistics.histogram.cumsum() / statistics.histogram.sum()
    low, high = int(np.searchsorted(below, 0.01)), int(np.searchsorted(below, 0.99))
    if high - low < MIN_VALUE_RANGE_SHARE * 255:
        yield AuditFinding(
            "narrow-range", "warning", f"expected values over most of 0..255, found nearly all within {low}..{high}"
        )
