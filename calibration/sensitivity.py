"""Which layers stay in float: each is measured alone, then the fewest of the most sensitive that reach the goal.

Errors of layers hardly help each other, so a layer that is bad alone is bad among others, and keeping one more never
makes an artifact worse beyond chance. So the answer is a beginning of the ranking, found by halving.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slide_export.core.typed_json import Measured


@dataclass(frozen=True)
class Sensitivity:
    """What it costs to reduce one layer alone.

    Attributes:
        module: PyTorch name.
        sqnr_db: of the model's outputs where every other layer is float.
    """

    module: str
    sqnr_db: Measured


@dataclass(frozen=True)
class MixedSearch:
    """How the modules to keep were found.

    Attributes:
        base: precision of the rest.
        ranking: every layer, the most sensitive first; empty where none had to be kept.
        kept: those that stay in float.
        before: what all layers reduced lose, in words.
        after: what is lost with those kept.
    """

    base: str
    ranking: tuple[Sensitivity, ...]
    kept: tuple[str, ...]
    before: str
    after: str


def rank(layers: Sequence[str], measure: Callable[[Sequence[str]], float]) -> tuple[Sensitivity, ...]:
    """Rank the layers by what quantizing each one alone costs, most sensitive first; ties keep their order.

    Args:
        measure: from the layers that stay in float to decibels of the outputs; NaN, an overflow, is worst.
    """
    found = [Sensitivity(layer, measure([other for other in layers if other != layer])) for layer in layers]
    return tuple(sorted(found, key=lambda one: -math.inf if math.isnan(one.sqnr_db) else one.sqnr_db))


def fewest(ranking: Sequence[str], reaches: Callable[[Sequence[str]], bool]) -> tuple[str, ...] | None:
    """Shortest beginning of a ranking that reaches the goal; None where even the whole does not.

    Args:
        reaches: whether the goal is met with these layers in float.
    """
    if reaches(()):
        return ()
    low, high = 0, 1  # `low` does not reach it
    while high < len(ranking) and not reaches(ranking[:high]):
        low, high = high, 2 * high
    if high >= len(ranking):
        high = len(ranking)
        if not reaches(ranking):
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(ranking[:middle]) else (middle, high)
    return tuple(ranking[:high])
