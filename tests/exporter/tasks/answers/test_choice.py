"""Detections are held to what defines them: each way to break the rule is found, and a tie is none."""

from dataclasses import replace

import numpy as np
import pytest

from slide_export.tasks.answers.choice import Choice, faults, matched
from slide_export.tasks.answers.suppress import detections

CHOICE = Choice(score_threshold=0.05, iou_threshold=0.5, levels=(60, 20), candidates=25, most=15)


def drawn(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    corner = generator.uniform(0, 40, (80, 2))
    boxes = np.concatenate((corner, corner + generator.uniform(5, 30, (80, 2))), axis=1).astype(np.float32)
    return generator.random((80, 2)).astype(np.float32), boxes


def rows_of(scores: np.ndarray, boxes: np.ndarray, choice: Choice = CHOICE) -> np.ndarray:
    """What the reference chooses, filled up with zeros."""
    told = {
        name: getattr(choice, name) for name in ("score_threshold", "iou_threshold", "levels", "candidates", "most")
    }
    best = detections(scores, boxes, **told)
    rows = np.zeros((choice.most, 6), np.float32)
    rows[: len(best.scores)] = np.concatenate((best.boxes, best.scores[:, None], best.labels[:, None]), axis=1)
    return rows


@pytest.mark.parametrize("most", [4, 15, 100])
def test_the_references_choice_breaks_nothing(most: int) -> None:
    choice = replace(CHOICE, most=most)
    for seed in range(5):
        scores, boxes = drawn(seed)
        assert faults(rows_of(scores, boxes, choice), scores, boxes, choice) == 0


def without_one(rows: np.ndarray) -> None:
    rows[2:-1] = rows[3:].copy()
    rows[-1] = 0


def moved(rows: np.ndarray) -> None:
    rows[1, 0] += np.float32(1e-3)


def in_another_class(rows: np.ndarray) -> None:
    rows[1, 5] = 1 - rows[1, 5]


def twice(rows: np.ndarray) -> None:
    rows[1:] = rows[:-1].copy()


def out_of_order(rows: np.ndarray) -> None:
    rows[[0, 1]] = rows[[1, 0]]


def of_no_class(rows: np.ndarray) -> None:
    rows[0, 5] = 7


@pytest.mark.parametrize("change", [without_one, moved, in_another_class, twice, out_of_order, of_no_class])
def test_each_other_choice_does(change: object) -> None:
    scores, boxes = drawn()
    rows = rows_of(scores, boxes)
    change(rows)
    assert faults(rows, scores, boxes, CHOICE) > 0


def test_nothing_chosen_is_a_fault() -> None:
    scores, boxes = drawn()
    assert faults(np.zeros((15, 6), np.float32), scores, boxes, CHOICE) > 0


def test_what_follows_the_last_is_zeros() -> None:
    choice = replace(CHOICE, most=100)
    scores, boxes = drawn()
    rows = rows_of(scores, boxes, choice)
    rows[-1, 0] = 3
    assert faults(rows, scores, boxes, choice) == 1


@pytest.mark.parametrize(("iou", "wrong"), [(0.45, True), (0.55, True), (0.5 + 5e-6, False), (0.5 - 5e-6, False)])
def test_an_overlap_at_the_threshold_may_go_either_way(iou: float, wrong: bool) -> None:
    # Of two boxes of one width, the second begins at y: overlap (10 - y) / (10 + y).
    y = 10 * (1 - iou) / (1 + iou)
    boxes = np.array([[0, 0, 10, 10], [0, y, 10, 10 + y]], np.float64)
    scores = np.array([[0.9], [0.8]])
    both = np.array([[*boxes[0], 0.9, 0], [*boxes[1], 0.8, 0]])
    choice = replace(CHOICE, levels=(2,))
    expected = int(wrong)
    assert faults(both, scores, boxes, choice) == (expected if iou > 0.5 else 0)
    both[1] = 0
    assert faults(both, scores, boxes, choice) == (expected if iou < 0.5 else 0)


def test_of_equal_candidates_at_the_end_any_may_be_taken() -> None:
    boxes = np.array([[20 * at, 0, 20 * at + 10, 10] for at in range(3)], np.float64)
    scores = np.array([[0.9], [0.5], [0.5]])
    choice = replace(CHOICE, levels=(3,), candidates=2)
    for other in (1, 2):
        rows = np.array([[*boxes[0], 0.9, 0], [*boxes[other], 0.5, 0]])
        assert faults(rows, scores, boxes, choice) == 0
    all_three = np.array([[*boxes[at], scores[at, 0], 0] for at in range(3)])
    assert faults(all_three, scores, boxes, choice) == 0  # nobody can tell which of the equal ones is too many


def test_matches_have_the_class_and_nine_tenths_of_the_box() -> None:
    rows = np.array([[0, 0, 10, 10, 0.9, 0], [20, 0, 30, 10, 0.8, 1], [0, 0, 0, 0, 0, 0]])
    others = rows.copy()
    others[0, 2] = 9.5
    others[1, 5] = 0
    assert matched(rows, rows) == (2, 2)
    assert matched(rows, others) == (1, 2)
