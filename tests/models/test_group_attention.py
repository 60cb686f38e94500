"""Padding of windows that do not fit: refused, seen, or masked, and the mask only where both axes are padded."""

import pytest
import torch

from slide_export.models.family import ShapeError
from slide_export.models.group_attention import MASKED, PADDINGS, Groups


@pytest.mark.parametrize("padding", PADDINGS)
def test_windows_that_fit_are_neither_padded_nor_masked(padding: str) -> None:
    groups = Groups((4, 6), 2, padding)
    x = torch.arange(24.0).reshape(1, 4, 6, 1)
    assert (groups.added, groups.mask()) == ((0, 0), None)
    assert torch.equal(groups.join(groups.cut(x)), x)


@pytest.mark.parametrize("resolution", [(3, 4), (4, 3), (3, 3), (1, 1)])
def test_a_map_that_needs_padding_is_refused_or_cut_back(resolution: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match="which windows of 2x2 do not divide"):
        Groups(resolution, 2, "refuse")
    groups = Groups(resolution, 2, "zeros")
    x = torch.arange(1.0, 1 + resolution[0] * resolution[1]).reshape(1, *resolution, 1)
    assert torch.equal(groups.join(groups.cut(x)), x)
    assert groups.mask() is None


@pytest.mark.parametrize(("resolution", "masked"), [((3, 4), False), ((4, 3), False), ((3, 3), True)])
def test_padded_tokens_are_masked_where_both_axes_are_padded(resolution: tuple[int, int], masked: bool) -> None:
    mask = Groups(resolution, 2, "mask").mask()
    assert (mask is not None) is masked


def test_the_mask_marks_exactly_the_padded_tokens() -> None:
    mask = Groups((3, 3), 2, "mask").mask()
    assert mask is not None
    assert mask.shape == (4, 1, 1, 4)
    expected = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1]]) * MASKED
    assert torch.equal(mask[:, 0, 0], expected)
    assert torch.tensor(MASKED).half().exp() == 0


def test_a_padding_of_another_name_is_refused() -> None:
    with pytest.raises(ShapeError, match="padding 'edge', where one of refuse, zeros, mask"):
        Groups((4, 4), 2, "edge")
