"""What the shapes of a Semantic FPN tell, and how often each level is enlarged."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from slide_export.models.family import ShapeError
from slide_export.models.heads.head import Maps
from slide_export.models.heads.semantic_fpn import Enlarging, SemanticFpnFields, build, infer, matches

WIDTHS = (4, 8, 16, 32)
FIRST, LATERAL = "decode_head.scale_heads.0.0.conv.weight", "neck.lateral_convs.0.conv.weight"


@dataclass(frozen=True)
class Config(SemanticFpnFields):
    """The head's fields with the backbone's that it reads."""

    num_classes: int = 3


def shapes(**changes: int) -> dict[str, Tensor]:
    config = Config(**{"neck_channels": 6, "head_channels": 5, **changes})  # type: ignore[arg-type]
    with torch.device("meta"):
        parts = build(config, Maps(WIDTHS, ((8, 8),) * 4))
    return {f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()}


def test_a_neck_and_its_head_tell_it() -> None:
    assert matches([FIRST, LATERAL])
    assert not matches([FIRST])
    assert not matches([LATERAL])


@pytest.mark.parametrize(("start", "groups"), [(0, 0), (1, 0), (0, 5)])
def test_shapes_tell_what_a_head_was_made_with(start: int, groups: int) -> None:
    found = infer(shapes(neck_start=start, norm_groups=groups), WIDTHS, norm_groups=groups or None)
    assert (found["neck_channels"], found["head_channels"], found["num_classes"]) == (6, 5, 3)
    assert (found["neck_start"], found["norm_groups"]) == (start, groups)


def test_levels_beyond_the_last_stage_and_another_width_are_refused() -> None:
    with pytest.raises(ShapeError, match="which no Semantic FPN has"):
        infer(shapes(neck_extra=1), WIDTHS)
    narrow = {**shapes(), FIRST: torch.empty(4, 6, 3, 3, device="meta")}
    with pytest.raises(ShapeError, match="a head of 5 channels"):
        infer(narrow, WIDTHS)


@pytest.mark.parametrize(("level", "convolutions", "side"), [(0, 1, 2), (1, 1, 4), (2, 2, 8), (3, 3, 16)])
def test_the_finest_level_is_not_enlarged_and_each_other_as_often_as_it_was_halved(
    level: int, convolutions: int, side: int
) -> None:
    module = Enlarging(4, 3, level, 0, align_corners=False).eval()
    assert [name for name, _ in module.named_children()] == [str(2 * index) for index in range(convolutions)]
    with torch.no_grad():
        assert module(torch.randn(1, 4, 2, 2)).shape == (1, 3, side, side)
