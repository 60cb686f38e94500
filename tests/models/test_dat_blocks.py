"""Windows that divide their map or are refused, and a shift that is rounded up where Swin's is rounded down."""

import pytest
import torch

from slide_export.models.dat_blocks import DepthwiseMlp, LayerScale, LocalAttention, PerceptionUnit, refuse_remainder
from slide_export.models.family import ShapeError
from tests.conftest import randomise


@pytest.mark.parametrize("resolution", [(14, 7), (7, 7), (21, 14)])
def test_windows_that_divide_the_map_are_taken(resolution: tuple[int, int]) -> None:
    refuse_remainder(resolution, 7)


@pytest.mark.parametrize("resolution", [(13, 14), (14, 15), (6, 7), (7, 1)])
def test_a_map_that_windows_do_not_divide_is_refused(resolution: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match=f"a map of {resolution[0]}x{resolution[1]}, which windows of 7x7"):
        refuse_remainder(resolution, 7)
    with pytest.raises(ShapeError, match="do not divide"):
        LocalAttention(4, 2, resolution, 7, shifted=False)


@pytest.mark.parametrize(("window", "shift"), [(7, 4), (4, 2), (1, 1)])
def test_half_a_window_is_rounded_up(window: int, shift: int) -> None:
    """Upstream: `shift_size = math.ceil(window / 2)`."""
    attention = LocalAttention(4, 2, (2 * window, 2 * window), window, shifted=True)
    assert attention.windows.shift == (shift, shift)
    assert LocalAttention(4, 2, (2 * window, 2 * window), window, shifted=False).attn_mask is None


def test_a_map_of_one_window_is_shifted_too() -> None:
    assert LocalAttention(4, 2, (7, 7), 7, shifted=True).attn_mask is not None


@pytest.mark.parametrize("plus_plus", [False, True])
def test_the_second_generation_adds_its_convolution(plus_plus: bool) -> None:
    torch.manual_seed(0)
    mlp = randomise(DepthwiseMlp(4, 8, plus_plus=plus_plus))
    assert isinstance(mlp, DepthwiseMlp)
    x = torch.randn(1, 5, 6, 4)
    with torch.no_grad():
        hidden = mlp.linear1(x.permute(0, 3, 1, 2))
        between = mlp.dwc(hidden) + (hidden if plus_plus else 0)
        expected = mlp.linear2(torch.nn.functional.gelu(between)).permute(0, 2, 3, 1)
        assert torch.allclose(mlp(x), expected, atol=1e-6)
        assert torch.allclose(mlp.fuse()(x), expected, atol=1e-5)
    assert ("linear1.0.weight" in mlp.state_dict()) is plus_plus


def test_a_perception_unit_adds_to_its_map_and_a_scale_begins_small() -> None:
    torch.manual_seed(0)
    unit, x = PerceptionUnit(4), torch.randn(1, 5, 6, 4)
    with torch.no_grad():
        assert torch.allclose(unit.fuse()(x), unit(x), atol=1e-6)
        unit.weight.zero_()
        assert unit.bias is not None
        unit.bias.fill_(1)
        assert torch.equal(unit(x), x + 1)
    assert LayerScale(3).weight.tolist() == pytest.approx([1e-5] * 3)
