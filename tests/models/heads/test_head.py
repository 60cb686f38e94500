"""Groups of a head's norms: told, dividing its channels, and of no BatchNorm."""

import pytest
import torch
from torch import Tensor

from slide_export.models.family import ShapeError
from slide_export.models.heads.head import ConvModule, convolutions, groups_of, resized


def norms(*widths: int, kind: str = "gn") -> dict[str, Tensor]:
    return {f"head.{index}.{kind}.weight": torch.empty(width, device="meta") for index, width in enumerate(widths)}


@pytest.mark.parametrize("told", [1, 2, 4, 8])
def test_groups_divide_every_width(told: int) -> None:
    assert groups_of(norms(8, 16), "head.", told) == told


@pytest.mark.parametrize("told", [3, 16, 32])
def test_groups_that_do_not_divide_a_width_are_refused(told: int) -> None:
    with pytest.raises(ShapeError, match=rf"{told} groups of a norm, which do not divide its \[8, 16\] channels"):
        groups_of(norms(16, 8), "head.", told)


@pytest.mark.parametrize("told", [None, 0, -1])
def test_groups_that_nobody_tells_are_asked_for(told: int | None) -> None:
    with pytest.raises(ShapeError, match="norm_groups"):
        groups_of(norms(8), "head.", told)


def test_a_batch_norm_has_no_groups() -> None:
    state = {**norms(8, kind="bn"), "neck.gn.weight": torch.empty(8, device="meta")}
    assert groups_of(state, "head.", None) == groups_of(state, "head.", 0) == 0
    with pytest.raises(ShapeError, match="a head with BatchNorm, which has no groups; 4 are told"):
        groups_of(state, "head.", 4)


def test_convolutions_are_counted_up_to_the_first_gap() -> None:
    state = {f"neck.{index}.conv.weight": torch.empty(1) for index in (0, 1, 3)}
    assert convolutions(state, "neck") == 2
    assert convolutions(state, "other") == 0


def test_a_map_of_the_size_is_the_map_itself() -> None:
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert resized(x, (2, 3), align_corners=True) is x
    assert resized(x, (2, 4), align_corners=True)[0, 0, 0].tolist() == pytest.approx([0, 2 / 3, 4 / 3, 2])
    assert resized(x, (2, 6), align_corners=False)[0, 0, 0].tolist() == pytest.approx([0, 0.25, 0.75, 1.25, 1.75, 2])


@pytest.mark.parametrize(("groups", "names"), [(0, {"conv.weight", "bn.weight"}), (2, {"conv.weight", "gn.weight"})])
def test_a_convolution_is_normed_by_batches_or_groups(groups: int, names: set[str]) -> None:
    module = ConvModule(4, 4, 3, groups).eval()
    assert names <= module.state_dict().keys()
    assert "conv.bias" not in module.state_dict()
    with torch.no_grad():
        assert module(torch.randn(1, 4, 5, 5)).min() >= 0
