"""Both forms of sampling are one function, inside the map and outside."""

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from slide_export.models.sampling import LOOKUPS, SAMPLERS, hat

EXACT = 1e-13  # float64; sums of a few hundred terms of size 1
RESOLUTION, TABLE, HEADS, GROUPS, POINTS = (5, 7), (9, 13), 4, 2, 11
DIM = 8


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def spread_points(furthest: float) -> Tensor:
    """Points in the map and up to `furthest` from its middle, with some exactly on pixels and on the border."""
    points = (torch.rand(2, GROUPS, POINTS, 2) * 2 - 1) * furthest
    points[0, 0, 0] = torch.tensor([-1.0, 1.0])
    points[0, 0, 1] = torch.tensor([0.0, 1 / 3])
    points[1, 1, 0] = torch.tensor([3.0, -2.0])
    return points


def by_hand(image: Tensor, row: float, col: float) -> Tensor:
    """Interpolate image [H, W, C] at a place in pixels, from its four neighbours; 0 outside."""
    top, left = int(torch.tensor(row).floor()), int(torch.tensor(col).floor())
    total = torch.zeros(image.shape[2])
    for y, x in itertools.product((top, top + 1), (left, left + 1)):
        if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
            total += image[y, x] * (1 - abs(row - y)) * (1 - abs(col - x))
    return total


@pytest.mark.parametrize("form", SAMPLERS)
@pytest.mark.parametrize("furthest", [1.0, 2.5])
def test_sample_is_that_of_four_neighbours(form: str, furthest: float) -> None:
    x, points = torch.randn(2, *RESOLUTION, DIM), spread_points(furthest)
    found = SAMPLERS[form](RESOLUTION, GROUPS)(x, points).reshape(2, POINTS, GROUPS, DIM // GROUPS)
    for image, group, point in itertools.product(range(2), range(GROUPS), range(POINTS)):
        own = x[image, :, :, group * DIM // GROUPS : (group + 1) * DIM // GROUPS]
        row, col = ((points[image, group, point] + 1) * (torch.tensor(RESOLUTION) - 1) / 2).tolist()
        assert (found[image, point, group] - by_hand(own, row, col)).abs().max() < EXACT


@pytest.mark.parametrize("form", LOOKUPS)
@pytest.mark.parametrize("furthest", [1.0, 2.5])
def test_bias_is_the_tables_at_half_the_distance(form: str, furthest: float) -> None:
    table, points = torch.randn(HEADS, *TABLE), spread_points(furthest)
    places = torch.linspace(-1, 1, RESOLUTION[0]), torch.linspace(-0.8, 0.9, RESOLUTION[1])
    found = LOOKUPS[form](places, TABLE, HEADS, GROUPS)(table.reshape(GROUPS, -1, *TABLE), points)
    assert found.shape == (2, HEADS, RESOLUTION[0] * RESOLUTION[1], POINTS)
    for image, head, point, y, x in [
        (0, 0, 0, 0, 0),
        (0, 3, 1, 4, 6),
        (1, 2, 0, 2, 3),
        (1, 1, 5, 3, 1),
        (0, 2, 9, 1, 5),
    ]:
        place = torch.stack((places[0][y], places[1][x]))
        distance = (place - points[image, head * GROUPS // HEADS, point]) / 2
        row, col = ((distance + 1) * (torch.tensor(TABLE) - 1) / 2).tolist()
        expected = by_hand(table[head, :, :, None], row, col)
        assert (found[image, head, y * RESOLUTION[1] + x, point] - expected).abs() < EXACT


@pytest.mark.parametrize("furthest", [0.9, 3.0])
def test_forms_agree(furthest: float) -> None:
    x, points = torch.randn(2, *RESOLUTION, DIM), spread_points(furthest)
    table = torch.randn(GROUPS, HEADS // GROUPS, *TABLE)
    samples = [sampler(RESOLUTION, GROUPS)(x, points) for sampler in SAMPLERS.values()]
    places = torch.linspace(-1, 1, RESOLUTION[0]), torch.linspace(-1, 1, RESOLUTION[1])
    biases = [lookup(places, TABLE, HEADS, GROUPS)(table, points) for lookup in LOOKUPS.values()]
    assert (samples[0] - samples[1]).abs().max() < EXACT
    assert (biases[0] - biases[1]).abs().max() < EXACT


def test_hat_is_one_at_a_pixel_and_none_at_the_next() -> None:
    assert hat(torch.tensor([-2.0, -1.0, -0.25, 0.0, 0.5, 1.0])).tolist() == [0, 0, 0.75, 1, 0.5, 0]
