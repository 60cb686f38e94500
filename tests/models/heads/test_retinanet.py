"""Anchors where upstream puts them, and boxes from deltas: by hand."""

import pytest
import torch

from slide_export.models.dense import maps_of
from slide_export.models.heads.retinanet import anchors, decode, levels_of
from tests.models.heads.test_dense import NAMES


def test_anchors_stand_at_multiples_of_the_stride() -> None:
    config = NAMES["pvt_retinanet"].variants["pvt_tiny_retinanet"]
    found = anchors(config, (2, 3), 8)
    assert found.shape == (2 * 3 * 9, 4)
    assert found[:9, :2].abs().max() == 0  # no half pixel
    assert found[9, :2].tolist() == [8.0, 0.0]  # column first
    assert found[3].tolist() == [0.0, 0.0, 32.0, 32.0]  # ratio 1, scale 4
    assert found[0, 2] == pytest.approx(2 * found[0, 3])  # ratio 0.5: twice as wide as high
    assert levels_of(config.at((160, 224)), maps_of(config.at((160, 224))))[-2:] == ((3, 4), (2, 2))


def test_deltas_move_and_stretch_an_anchor_within_the_input() -> None:
    anchor = torch.tensor([[16.0, 8.0, 8.0, 4.0]])
    still, moved = torch.zeros(1, 1, 4), torch.tensor([[[0.5, -1.0, torch.log(torch.tensor(2.0)), 0.0]]])
    assert decode(anchor, still, (32, 32)).tolist() == [[[12.0, 6.0, 20.0, 10.0]]]
    assert torch.allclose(decode(anchor, moved, (32, 32)), torch.tensor([[[12.0, 2.0, 28.0, 6.0]]]))
    assert decode(anchor, torch.full((1, 1, 4), 9.0), (32, 30)).tolist() == [[[0.0, 0.0, 30.0, 32.0]]]
