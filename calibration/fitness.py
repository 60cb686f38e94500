"""Whether images and their classes are fit to judge a model by: the trained model itself has to know them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from slide_export.core.errors import CalibrationError, option

from .evaluation_set import EvaluationSet
from .significance import better_than_chance, mcnemar
from .tally import Tally

MAX_SWAP_P_VALUE = 1e-3  # chance of calling classes swapped that the model confuses as often as not


def refuse_unfit(tally: Tally, data: EvaluationSet) -> None:
    """Refuse classes that the trained model itself contradicts, naming the likely cause.

    Raises:
        CalibrationError: it does no better than guessing, or it calls a whole class by another's name and back.
    """
    if data.classes is None:
        return
    if swapped := _swapped(tally.answers):
        swaps = ", ".join(f"{data.names[index] or index} is what it calls {answer}" for index, answer in swapped[:4])
        raise CalibrationError(
            f"expected the classes of {data.images.source} in the order of the model's head, found {len(swapped)} in "
            f"another order ({swaps}): give the class names in the head's order with {option('labels')}, or rename the "
            "folders"
        )
    if not tally.width:
        raise CalibrationError(f"expected scores of classes to compare with {data.images.source}, found other outputs")
    right = tally.pytorch[0]
    if better_than_chance(right, tally.images, tally.width):
        return
    if not better_than_chance(tally.images, tally.images, tally.width):
        raise CalibrationError(f"expected enough images to judge by, found {tally.images} in {data.images.source}")
    raise CalibrationError(
        f"expected the trained model to do better than guessing on {data.images.source}, found it right on {right} of "
        f"{tally.images} images with {tally.width} classes: the images are mislabelled or not of the kind that it was "
        "trained on"
    )


def _swapped(answers: Counter[tuple[int, int]]) -> list[tuple[int, int]]:
    """(class, answer) of each class that the model calls another one, where these form closed rings.

    A weak model confuses a class with another; only a wrong order sends every class of a ring to the next one. Twins,
    which a model confuses as often as not, look like a ring of two on a few images, so McNemar's test has to rule out
    that the given order is as good as the ring undone.
    """
    totals: Counter[int] = Counter()
    for (label, _), count in answers.items():
        totals[label] += count
    moved = {
        label: answer for (label, answer), count in answers.items() if label != answer and 2 * count > totals[label]
    }
    swapped: dict[int, int] = {}
    for label in moved:
        ring = [] if label in swapped else _ring(label, moved)
        given, undone = sum(answers[one, one] for one in ring), sum(answers[one, moved[one]] for one in ring)
        if undone > given and mcnemar(given, undone) < MAX_SWAP_P_VALUE:
            swapped |= {one: moved[one] for one in ring}
    return sorted(swapped.items())


def _ring(start: int, moved: Mapping[int, int]) -> list[int]:
    """Classes from `start` on that lead one to the next and back to it; empty where they do not.

    Given   start 0, moved {0: 1, 1: 2, 2: 0, 7: 3}
    Result  [0, 1, 2]; for start 7 []
    """
    ring = [start]
    while moved.get(ring[-1], start) != start and len(ring) < len(moved):
        ring.append(moved[ring[-1]])
    return ring if moved.get(ring[-1]) == start else []
