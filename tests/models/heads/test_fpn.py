"""A neck's levels: which stages it takes, what the first level beyond the last stage convolves, and what is refused."""

import pytest
import torch
from torch import Tensor, nn

from slide_export.models.family import ShapeError
from slide_export.models.heads.fpn import LATERAL, OUTPUT, Fpn, FpnFields, infer_fpn

WIDTHS = (4, 8, 16, 32)


def shapes(config: FpnFields) -> dict[str, Tensor]:
    with torch.device("meta"):
        return {f"neck.{name}": value for name, value in Fpn(config, WIDTHS).state_dict().items()}


@pytest.mark.parametrize(
    "config",
    [
        FpnFields(6),
        FpnFields(6, neck_start=1),
        FpnFields(6, neck_start=1, neck_extra=2),
        FpnFields(6, neck_start=3, neck_extra=1, neck_extra_on="output"),
    ],
)
def test_shapes_tell_what_a_neck_was_made_with(config: FpnFields) -> None:
    assert infer_fpn(shapes(config), WIDTHS) == vars(config)


def test_without_a_level_beyond_nothing_tells_what_one_would_convolve() -> None:
    assert infer_fpn(shapes(FpnFields(6, neck_extra_on="output")), WIDTHS)["neck_extra_on"] == "input"


@pytest.mark.parametrize("widths", [(4, 8, 16), (4, 8, 16, 33), (8, 16, 32, 4), ()])
def test_a_neck_of_other_maps_is_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"a neck of maps \(4, 8, 16, 32\) wide"):
        infer_fpn(shapes(FpnFields(6)), widths)


def test_a_level_without_its_output_is_refused() -> None:
    state = {key: value for key, value in shapes(FpnFields(6)).items() if not key.startswith(f"{OUTPUT}.3.")}
    assert f"{LATERAL}.3.conv.weight" in state
    with pytest.raises(ShapeError, match="a neck of maps"):
        infer_fpn(state, WIDTHS)


def ones(neck: Fpn) -> Fpn:
    """Lateral convolutions that take the mean of their channels, outputs that take the middle."""
    with torch.no_grad():
        for module in neck.modules():
            if isinstance(module, nn.Conv2d):
                module.bias.zero_()  # type: ignore[union-attr]
                module.weight.zero_()
                middle = module.kernel_size[0] // 2
                module.weight[:, :, middle, middle] = 1 / module.in_channels
    return neck


@pytest.mark.parametrize(("on", "beyond"), [("input", 4.0), ("output", 4.0)])
def test_each_level_is_its_map_and_all_coarser_ones(on: str, beyond: float) -> None:
    config = FpnFields(2, neck_start=2, neck_extra=2, neck_extra_on=on)  # type: ignore[arg-type]
    maps = tuple(torch.full((1, width, 8 >> stage, 8 >> stage), float(stage + 1)) for stage, width in enumerate(WIDTHS))
    with torch.no_grad():
        levels = ones(Fpn(config, WIDTHS))(maps)
    assert [level.shape[2] for level in levels] == [2, 1, 1, 1]
    assert [level.mean().item() for level in levels] == pytest.approx([3 + 4, 4, beyond, beyond])


def test_a_level_beyond_convolves_the_backbones_last_map_or_the_last_level() -> None:
    maps = tuple(torch.full((1, width, 8 >> stage, 8 >> stage), 1.0) for stage, width in enumerate(WIDTHS))
    for on, seen in (("input", 1.0), ("output", 5.0)):
        neck = ones(Fpn(FpnFields(2, neck_extra=1, neck_extra_on=on), WIDTHS))  # type: ignore[arg-type]
        with torch.no_grad():
            neck.get_submodule("fpn_convs.3.conv").bias.fill_(4)  # type: ignore[union-attr, operator]
            assert neck(maps)[-1].mean().item() == pytest.approx(seen)
