"""Classes that the trained model contradicts are refused, with the cause; confusion and chance are not taken for it."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from slide_export.calibration.evaluation_set import EvaluationSet
from slide_export.calibration.fitness import MAX_SWAP_P_VALUE, refuse_unfit
from slide_export.calibration.images import ImageSet
from slide_export.calibration.significance import better_than_chance, mcnemar
from slide_export.calibration.tally import Tally
from slide_export.core.errors import CalibrationError

NAMES = ("cat", "dog", "emu", "fox")
FILES = (Path("cat/1.png"),)
DATA = EvaluationSet(ImageSet("pets", Path(), FILES), np.array([0]), NAMES)


def tally(answers: Mapping[tuple[int, int], int], width: int = 4) -> Tally:
    """(class, PyTorch's answer) -> how often."""
    right = sum(count for (label, answer), count in answers.items() if label == answer)
    images = sum(answers.values())
    return Tally(images=images, width=width, pytorch=[right, 0], answers=Counter(answers))


def diagonal(count: int, classes: int = 4) -> dict[tuple[int, int], int]:
    return {(n, n): count for n in range(classes)}


def test_a_model_that_knows_the_classes_passes() -> None:
    refuse_unfit(tally(diagonal(20)), DATA)


def test_images_without_classes_are_never_unfit() -> None:
    refuse_unfit(Tally(images=3), EvaluationSet(DATA.images))


@pytest.mark.parametrize("ring", [(0, 1), (0, 1, 2), (3, 1, 0, 2)])
def test_classes_in_another_order_are_named(ring: tuple[int, ...]) -> None:
    moved = dict(zip(ring, (*ring[1:], ring[0]), strict=True))
    answers = {(n, moved.get(n, n)): 20 for n in range(4)}
    with pytest.raises(CalibrationError, match=rf"found {len(ring)} in another order \(") as refused:
        refuse_unfit(tally(answers), DATA)
    first = min(ring)
    assert f"{NAMES[first]} is what it calls {moved[first]}" in str(refused.value)


def twins(undone: int, given: int) -> dict[tuple[int, int], int]:
    """Two classes of which each is called the other `undone` times, and itself `given` times; two sound ones."""
    half = {(0, 1): undone, (1, 0): undone, (0, 0): given, (1, 1): given}
    return {**half, (2, 2): 100, (3, 3): 100}


def test_a_ring_is_an_order_only_where_chance_is_ruled_out() -> None:
    given = 5
    swapped = next(n for n in range(given + 1, 100) if mcnemar(2 * given, 2 * n) < MAX_SWAP_P_VALUE)
    refuse_unfit(tally(twins(swapped - 1, given)), DATA)
    with pytest.raises(CalibrationError, match="found 2 in another order"):
        refuse_unfit(tally(twins(swapped, given)), DATA)
    assert MAX_SWAP_P_VALUE == 1e-3  # once in a thousand sets of twins


@pytest.mark.parametrize("most", [45, 50])
def test_a_class_that_is_called_another_up_to_half_the_time_is_not_moved(most: int) -> None:
    half = {**diagonal(100), (0, 0): 10, (0, 2): 90 - most, (0, 1): most, (1, 1): 10, (1, 3): 90 - most, (1, 0): most}
    refuse_unfit(tally(half), DATA)
    with pytest.raises(CalibrationError, match="found 2 in another order"):
        refuse_unfit(tally({**half, (0, 1): 102 - most, (1, 0): 102 - most}), DATA)


def test_at_most_four_of_the_moved_classes_are_told() -> None:
    ring = {(n, (n + 1) % 6): 20 for n in range(6)}
    names = tuple("abcdef")
    with pytest.raises(CalibrationError, match=r"found 6 in another order \(a is .*, d is what it calls 4\): give"):
        refuse_unfit(tally(ring, 6), EvaluationSet(DATA.images, DATA.classes, names))


def test_a_class_that_leads_into_no_ring_is_a_weak_model() -> None:
    refuse_unfit(tally({**diagonal(50), (0, 0): 0, (0, 1): 50}), DATA)  # all cats are dogs, dogs are dogs


def test_guessing_is_refused_and_a_little_more_is_not() -> None:
    right = next(n for n in range(100) if better_than_chance(n, 100, 4))
    spread = {(2, 2): right, (2, 0): 40, (2, 1): 100 - right - 40}
    refuse_unfit(tally(spread), DATA)
    with pytest.raises(CalibrationError, match=rf"found it right on {right - 1} of 100 images with 4 classes"):
        refuse_unfit(tally({**spread, (2, 2): right - 1, (2, 3): 1}), DATA)


def test_too_few_images_can_tell_nothing() -> None:
    enough = next(n for n in range(1, 100) if better_than_chance(n, n, 4))
    with pytest.raises(CalibrationError, match=f"expected enough images to judge by, found {enough - 1} in pets"):
        refuse_unfit(tally({(0, 0): enough - 1}), DATA)
    refuse_unfit(tally({(0, 0): enough}), DATA)


def test_outputs_that_are_no_scores_have_no_classes() -> None:
    with pytest.raises(CalibrationError, match="expected scores of classes to compare with pets"):
        refuse_unfit(Tally(images=5), DATA)
