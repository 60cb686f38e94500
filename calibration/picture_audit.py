"""Are the pictures like those that the preprocessing is for? Said in every precision, and refused in none.

Given:  ten grey digits, and ImageNet's mean and std, which no file told
Result: "the 10 given pictures hold RGB of (0.14, 0.14, 0.14) ± (0.3, 0.3, 0.3), where ... is assumed: all are grey ..."

A proof cannot see a wrong mean, for PyTorch gets the same wrong input: only the pictures can tell.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slide_export.core.text import foreign

from .audit import Statistics, channel_order, normalisation, numbers, statistics_of

if TYPE_CHECKING:
    from slide_export.models import DataConfig

FITTING_MEAN = 0.5  # of the normalised pictures, either way: sets of photographs stay within it, 0.11 of 0..1
FITTING_STD = (0.6, 1.6)  # of the same
GREY = 1.0  # of 255, between the channels' means of one picture


def compared(
    pictures: Iterable[NDArray[np.uint8]], data: DataConfig, assumed: Collection[str], source: str
) -> tuple[str, ...]:
    """Compare the colours of pictures with mean and std, one sentence a finding.

    Args:
        pictures: as the model sees them before normalisation, uint8 [H, W, 3].
        assumed: names of what nobody told.
        source: of the pictures, for people.
    """
    if not data.normalises:  # any colours will do
        return ()
    statistics, source = statistics_of(pictures), foreign(source)
    if {"mean", "std"} & {*assumed}:
        return (_beside_assumption(statistics, data, source),)
    found = (*normalisation(statistics, data), *channel_order(statistics, data))
    return tuple(f"{source}: {finding.name}: {finding.message}" for finding in found)


def _beside_assumption(statistics: Statistics, data: DataConfig, source: str) -> str:
    mean, spread = statistics.colours
    centre, width = (mean - data.mean) / data.std, spread / data.std
    fits = np.abs(centre).max() <= FITTING_MEAN and FITTING_STD[0] <= width.min() and width.max() <= FITTING_STD[1]
    verdict = "they are alike" if fits else "they differ, so say those of the training with --mean and --std"
    if np.ptp(statistics.means, axis=1).max() <= GREY and np.ptp([data.mean, data.std], axis=1).max() > 0:
        verdict = "all are grey, where these differ by colour, so say those of the training with --mean and --std"
    return (
        f"{source}: {len(statistics.means)} pictures hold RGB of {numbers(mean)} ± {numbers(spread)}, where "
        f"{numbers(data.mean)} ± {numbers(data.std)} is assumed: {verdict}"
    )
