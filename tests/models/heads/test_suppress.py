"""Choosing inside a graph is choosing outside of it, whatever the number of detections."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from slide_export.models.heads.suppress import Suppress
from slide_export.tasks.answers.suppress import detections

LEVELS, CLASSES = (40, 12, 4), 3


def config(**told: float) -> SimpleNamespace:
    own = {"num_classes": CLASSES, "score_threshold": 0.05, "iou_threshold": 0.5, "candidates": 30, "detections": 20}
    return SimpleNamespace(**{**own, **told})


def drawn(seed: int, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores, and boxes of which some have no area."""
    generator, count = np.random.default_rng(seed), sum(LEVELS)
    scores = generator.random((batch, count, CLASSES)).astype(np.float32)
    corner = generator.uniform(0, 40, (batch, count, 2))
    boxes = np.concatenate((corner, corner + generator.uniform(-2, 30, (batch, count, 2))), axis=2).astype(np.float32)
    return torch.from_numpy(scores), torch.from_numpy(boxes)


@pytest.mark.parametrize("told", [{}, {"detections": 200}, {"candidates": 1000}, {"score_threshold": 0.9}])
def test_detections_are_those_of_the_reference(told: dict[str, float]) -> None:
    scores, boxes = drawn(0)
    asked = config(**told)
    found = Suppress(asked, LEVELS)(scores, boxes).numpy()
    for rows, own, corners in zip(found, scores.numpy(), boxes.numpy(), strict=True):
        expected = detections(
            own,
            corners,
            levels=LEVELS,
            candidates=asked.candidates,
            most=asked.detections,
            score_threshold=asked.score_threshold,
            iou_threshold=asked.iou_threshold,
        )
        count = len(expected.scores)
        assert count
        assert np.array_equal(rows[:count, 4], expected.scores)
        assert np.array_equal(rows[:count, 5], expected.labels)
        assert np.array_equal(rows[:count, :4], expected.boxes)
        assert not rows[count:].any()


def test_a_picture_without_detections_has_zeros() -> None:
    scores, boxes = drawn(1)
    scores[1] = 0.01
    found = Suppress(config(), LEVELS)(scores, boxes)
    assert found.shape == (2, 20, 6)
    assert found[0, 0, 4] > 0
    assert not found[1].any()
