"""Counts of two models' answers: each against its definition, and parts that add up to the whole, to the bit."""

import json
from collections import Counter

import numpy as np
import pytest

from slide_export.calibration.tally import TOP_K, Tally

RNG = np.random.default_rng(0)
OURS, THEIRS = RNG.normal(size=(40, 9)), RNG.normal(size=(40, 9))
CLASSES = RNG.integers(0, 9, 40)


def counted(*parts: slice) -> Tally:
    tally = Tally()
    for part in parts:
        tally.add({"logits": OURS[part]}, {"logits": THEIRS[part]}, CLASSES[part])
    return tally


def test_each_count_is_its_definition() -> None:
    found = counted(slice(0, 40))
    ours, theirs = OURS.argmax(1), THEIRS.argmax(1)
    right, kept = ours == CLASSES, theirs == CLASSES
    assert (found.images, found.width) == (40, 9)
    assert found.agreed == (ours == theirs).sum()
    assert (found.pytorch[0], found.artifact[0]) == (right.sum(), kept.sum())
    assert (found.lost, found.won) == ((right & ~kept).sum(), (kept & ~right).sum())
    for top, scores in ((found.pytorch[1], OURS), (found.artifact[1], THEIRS)):
        assert top == sum(label in np.argsort(row)[-TOP_K:] for label, row in zip(CLASSES, scores, strict=True))
    assert found.answers == Counter(zip(CLASSES.tolist(), ours.tolist(), strict=True))
    assert found.signal == pytest.approx((OURS**2).sum(), rel=1e-12)
    assert found.noise == pytest.approx(((THEIRS - OURS) ** 2).sum(), rel=1e-12)


@pytest.mark.parametrize(("classes", "told"), [(TOP_K, 0), (TOP_K + 1, 1)])
def test_the_first_five_of_five_classes_would_always_be_right(classes: int, told: int) -> None:
    tally = Tally()
    scores = np.arange(classes, dtype=float)[None]
    tally.add({"y": scores}, {"y": scores}, np.array([classes - 2]))
    assert (tally.pytorch, tally.artifact) == ([0, told], [0, told])
    assert tally.width == classes


@pytest.mark.parametrize(("place", "told"), [(TOP_K, 40), (TOP_K + 1, 0)])
def test_the_first_five_of_a_thousand_classes_are_the_highest(place: int, told: int) -> None:
    tally, scores = Tally(), RNG.normal(size=(40, 1000))
    tally.add({"y": scores}, {"y": scores}, np.argsort(scores, axis=1)[:, -place])
    assert tally.pytorch == [0, told]


def test_parts_are_the_whole_to_the_bit() -> None:
    parts = [slice(0, 7), slice(7, 20), slice(20, 40)]
    whole = counted(*parts)
    joined = Tally()
    for part in parts:
        joined.extend(Tally.parsed(json.loads(json.dumps(counted(part).plain(), allow_nan=False))))
    assert joined == whole
    assert (joined.signal, joined.noise) == (whole.signal, whole.noise)


def test_terms_are_added_in_the_order_of_the_images() -> None:
    tally = Tally(signals=[1.0, 1e16, -1e16])
    assert tally.signal == 0.0  # (1 + 1e16) - 1e16; a sum that compensates says 1
    assert Tally(signals=[1e16, -1e16, 1.0]).signal == 1.0


@pytest.mark.parametrize("value", [float("inf"), 0.1, 5e-324])
def test_any_float_is_written_exactly(value: float) -> None:
    assert Tally.parsed(Tally(noises=[value]).plain()).noises == [value]


def test_maps_and_several_outputs_have_noise_and_no_classes() -> None:
    tally = Tally()
    tally.add({"map": np.ones((2, 3, 4, 4))}, {"map": np.zeros((2, 3, 4, 4))}, None)
    tally.add({"a": np.ones((2, 3)), "b": np.ones((2, 1))}, {"a": np.ones((2, 3)), "b": np.zeros((2, 1))}, None)
    assert (tally.images, tally.width, tally.agreed) == (4, 0, 0)
    assert (tally.signals, tally.noises) == ([96.0, 6.0, 2.0], [96.0, 0.0, 2.0])


def test_without_classes_only_agreement_is_counted() -> None:
    tally = Tally()
    tally.add({"y": OURS}, {"y": OURS}, None)
    assert (tally.agreed, tally.pytorch, tally.lost, tally.answers) == (40, [0, 0], 0, Counter())


def test_an_empty_part_leaves_the_number_of_classes() -> None:
    for order in ((Tally(), Tally(images=1, width=9)), (Tally(images=1, width=9), Tally())):
        first, second = order
        first.extend(second)
        assert (first.images, first.width) == (1, 9)
