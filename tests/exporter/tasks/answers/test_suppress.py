"""Detections against a plain loop, and each bound from both sides."""

import numpy as np
import pytest
from numpy.typing import NDArray

from slide_export.tasks.answers.suppress import detections, nms, overlap

Boxes = NDArray[np.floating]


def boxes(*corners: tuple[float, float, float, float]) -> Boxes:
    return np.array(corners, np.float64)


def one_class(*scores: float) -> Boxes:
    return np.array(scores)[:, None]


def by_definition(chosen: Boxes, scores: Boxes, threshold: float) -> list[int]:
    """Each box in turn, best first, beside every better one that is kept."""
    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda n: -scores[n]):
        shares = []
        for other in kept:
            (a, b, c, d), (e, f, g, h) = chosen[index], chosen[other]
            inside = max(0.0, min(c, g) - max(a, e)) * max(0.0, min(d, h) - max(b, f))
            shares.append(inside / ((c - a) * (d - b) + (g - e) * (h - f) - inside))
        if all(share <= threshold for share in shares):
            kept.append(index)
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_nms_is_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 10, (40, 2))
    found = np.concatenate((corners, corners + rng.uniform(1, 6, (40, 2))), axis=1)
    scores = rng.uniform(size=40)
    assert nms(found, scores, 0.4).tolist() == by_definition(found, scores, 0.4)


def test_overlap_is_intersection_over_union() -> None:
    others = boxes((0, 0, 2, 2), (1, 0, 3, 2), (2, 0, 4, 2), (5, 5, 6, 6))
    assert overlap(others[0], others) == pytest.approx([1, 1 / 3, 0, 0])
    point = boxes((1, 1, 1, 1))
    assert overlap(point[0], point).tolist() == [0]  # and no division by zero


@pytest.mark.parametrize(("second", "kept"), [((0, 0, 2, 1), 2), ((0, 0, 2, 1.01), 1)])
def test_of_two_boxes_that_overlap_by_more_than_the_limit_the_better_is_kept(
    second: tuple[float, float, float, float], kept: int
) -> None:
    found = detections(one_class(0.9, 0.8), boxes((0, 0, 2, 2), second))  # by half, and by a little more
    assert len(found.scores) == kept
    assert found.scores[0] == 0.9


@pytest.mark.parametrize(("score", "count"), [(0.05, 0), (0.0501, 1)])
def test_a_score_at_the_threshold_is_none(score: float, count: int) -> None:
    assert len(detections(one_class(score), boxes((0, 0, 1, 1))).scores) == count


def test_classes_do_not_suppress_each_other() -> None:
    scores = np.array([[0.9, 0.8], [0.7, 0.2]])
    found = detections(scores, boxes((0, 0, 2, 2), (0, 0, 2, 2)))
    assert list(zip(found.labels.tolist(), found.scores.tolist(), strict=True)) == [(0, 0.9), (1, 0.8)]


@pytest.mark.parametrize("box", [(2, 0, 2, 2), (0, 2, 2, 2), (3, 0, 2, 2)])
def test_a_box_without_area_is_none(box: tuple[float, float, float, float]) -> None:
    assert len(detections(one_class(0.9), boxes(box)).scores) == 0
    assert len(detections(one_class(0.9), boxes((0, 0, 1e-3, 1e-3))).scores) == 1


def apart(count: int) -> Boxes:
    """Boxes that do not touch."""
    left = 2.0 * np.arange(count)
    return np.stack((left, np.zeros(count), left + 1, np.ones(count)), axis=1)


@pytest.mark.parametrize(("count", "kept"), [(100, 100), (101, 100)])
def test_so_many_detections_at_most_and_the_best(count: int, kept: int) -> None:
    scores = np.linspace(0.1, 0.9, count)
    found = detections(one_class(*scores), apart(count))
    assert found.scores.tolist() == sorted(scores.tolist(), reverse=True)[:kept]


def test_each_level_gives_its_own_candidates() -> None:
    scores = one_class(0.9, 0.8, 0.7, 0.3, 0.2, 0.1)
    together = detections(scores, apart(6), candidates=2)
    levels = detections(scores, apart(6), candidates=2, levels=(3, 3))
    assert together.scores.tolist() == [0.9, 0.8]
    assert levels.scores.tolist() == [0.9, 0.8, 0.3, 0.2]
    assert levels.boxes.tolist() == apart(6)[[0, 1, 3, 4]].tolist()


def test_a_thousand_candidates_where_nobody_says() -> None:
    scores = np.linspace(0.1, 0.9, 1001)
    found = detections(one_class(*scores), apart(1001), most=2000)
    assert len(found.scores) == 1000
    assert found.scores.min() == scores[1]


def test_no_score_is_no_detection() -> None:
    found = detections(np.zeros((3, 2)), apart(3))
    assert (found.boxes.shape, found.scores.shape, found.labels.shape) == ((0, 4), (0,), (0,))
