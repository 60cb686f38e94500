"""A table of relative positions tells a square window; any other is checked by its number of positions."""

import pytest
import torch

from slide_export.models.family import ShapeError
from slide_export.models.window_tables import TABLE, check_window, is_square, told_window


def state(*rows: int) -> dict[str, torch.Tensor]:
    return {f"layers.{n}{TABLE}": torch.zeros(count, 2) for n, count in enumerate(rows)}


@pytest.mark.parametrize("side", [1, 2, 7, 12])
def test_the_widest_square_table_tells_the_window(side: int) -> None:
    widest = (2 * side - 1) ** 2
    assert told_window(state(1, widest)) == (side, side)
    check_window(state(1, widest), (side, side))


@pytest.mark.parametrize("rows", [(), (35,), (9, 35)])
def test_no_table_and_an_oblong_one_tell_nothing(rows: tuple[int, ...]) -> None:
    assert told_window(state(*rows)) is None


def test_a_table_of_another_rank_is_none() -> None:
    assert told_window({f"layers.0{TABLE}": torch.zeros(9)}) is None


def test_an_oblong_window_has_the_products_positions() -> None:
    check_window(state(35), (3, 4))  # 5 x 7
    check_window(state(35), (4, 3))
    with pytest.raises(ShapeError, match="49 positions, where the widest table has 35"):
        check_window(state(35), (4, 4))


@pytest.mark.parametrize(("number", "square"), [(0, True), (1, True), (48, False), (49, True), (50, False)])
def test_squares(number: int, square: bool) -> None:
    assert is_square(number) == square
