"""Which maps upstream's deformable attention can run on, at the last that fits and the first that does not."""

from dataclasses import replace

import pytest

from slide_export.models.deformable_attention import DeformableShape
from slide_export.models.family import ShapeError

DAT = DeformableShape(8, 2, (14, 14), 2, stride=1, kernel=3, factor=2.0, table=(14, 14), plus_plus=False)
PLUS = replace(DAT, stride=2, factor=-1.0, plus_plus=True)


@pytest.mark.parametrize(
    ("plus_plus", "kernel", "stride", "padding", "side"),
    [(False, 3, 1, 1, 14), (False, 2, 2, 1, 8), (True, 2, 2, 0, 7), (True, 3, 2, 1, 7), (True, 5, 4, 2, 4)],
)
def test_points_are_those_of_a_padded_convolution(
    plus_plus: bool, kernel: int, stride: int, padding: int, side: int
) -> None:
    """DAT++'s has no padding where patches of the kernel's size stand side by side."""
    shape = replace(DAT, plus_plus=plus_plus, kernel=kernel, stride=stride)
    assert (shape.padding, shape.grid) == (padding, (side, side))


def test_a_table_has_a_place_for_each_distance() -> None:
    assert replace(DAT, table=(14, 7)).biases == (27, 13)


@pytest.mark.parametrize(
    "shape",
    [
        DAT,
        replace(DAT, table=None),
        replace(DAT, resolution=(1, 1), table=(1, 1)),
        PLUS,
        replace(PLUS, table=(7, 7)),  # looked up at any size
        replace(PLUS, resolution=(3, 3)),  # two points a side
        replace(PLUS, kernel=2, still=True, table=None),
        replace(PLUS, resolution=(2, 2), kernel=2, still=True, table=None),
    ],
)
def test_a_map_that_upstream_runs_on_is_taken(shape: DeformableShape) -> None:
    shape.refuse_misfits()


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        (replace(PLUS, resolution=(1, 9), kernel=2), "no point of stride 2 stands"),
        (replace(DAT, still=True), "whose points do not move"),
        (replace(PLUS, kernel=3, resolution=(15, 15), still=True), "8x8 points are not its means of 2"),
        (replace(DAT, table=(14, 7)), "position biases for 14x7"),
        (replace(PLUS, resolution=(2, 9), table=None), "1x5 points: DAT.. divides by a side less 1"),
        (replace(PLUS, resolution=(1, 9), stride=1, table=(1, 9)), "divides by a side less 1"),
    ],
)
def test_a_map_that_upstream_fails_on_is_refused(shape: DeformableShape, sentence: str) -> None:
    with pytest.raises(ShapeError, match=sentence):
        shape.refuse_misfits()
