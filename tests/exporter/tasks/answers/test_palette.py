"""Colours of classes and frames around boxes, pixel by pixel."""

import numpy as np
import pytest

from slide_export.tasks.answers.palette import FRAME, coloured, framed, overlaid, palette_of


def test_colours_are_pascal_vocs_where_no_file_tells_others() -> None:
    assert palette_of(())[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert palette_of((1, 2, 3, 4, 5, 6))[:4].tolist() == [[1, 2, 3], [4, 5, 6], [0, 128, 0], [128, 128, 0]]


def test_a_map_of_half_the_size_covers_four_pixels_each() -> None:
    mask = np.array([[0, 1], [2, 1]], np.uint8)
    drawn = overlaid(np.full((4, 4, 3), 100, np.uint8), coloured(mask, palette_of(())))
    assert drawn[:, :, 0].tolist() == [[50, 50, 114, 114]] * 2 + [[50, 50, 114, 114]] * 2
    assert drawn[:, :, 1].tolist() == [[50] * 4] * 2 + [[114, 114, 50, 50]] * 2


@pytest.mark.parametrize("box", [(3.0, 2.0, 9.0, 8.0), (-5.0, -4.0, 9.0, 8.0), (3.0, 2.0, 40.0, 30.0)])
def test_a_frame_is_what_of_it_lies_in_the_picture(box: tuple[float, ...]) -> None:
    colours = palette_of(())
    drawn = framed(np.zeros((12, 14, 3), np.uint8), np.array([box]), np.array([1]), colours)
    left, top, right, bottom = box
    rows, cols = np.mgrid[0:12, 0:14]
    inside = (rows >= top) & (rows < bottom) & (cols >= left) & (cols < right)
    middle = (rows >= top + FRAME) & (rows < bottom - FRAME) & (cols >= left + FRAME) & (cols < right - FRAME)
    assert np.array_equal(drawn.any(axis=2), inside & ~middle)
    assert (drawn[inside & ~middle] == colours[1]).all()
