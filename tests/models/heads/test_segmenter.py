"""A single class is decided by its threshold, and a margin is the distance to it."""

import pytest
import torch

from tests.models.heads.test_dense import NAMES, small


@pytest.mark.parametrize(("logit", "present"), [(-0.9, 0), (-0.8, 1)])
def test_a_single_class_is_there_from_its_threshold_on(logit: float, present: int) -> None:
    """A probability of 0.3 is the logit -0.847."""
    with torch.device("meta"):
        model = NAMES["pvt_semantic_fpn"].build(small("pvt_semantic_fpn", num_classes=1))
    scores = torch.full((1, 1, 2, 3), logit)
    assert model.decided(scores).tolist() == [[[present] * 3] * 2]
    assert model.margins(scores)[0, 0, 0] == pytest.approx(abs(logit + 0.8473), abs=1e-4)
