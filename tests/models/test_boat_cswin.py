"""The only input that BOAT on CSwin has, where its attention stands, and that images come in pairs."""

import pytest
import torch

from slide_export.models.boat_cswin import SCALE, BoatBlock, BoatCSwinConfig, BoatCSwinTransformer
from slide_export.models.family import ShapeError, coupled


@pytest.mark.parametrize(("stages", "side"), [(4, 224), (3, 112), (1, 28)])
def test_clusters_have_49_tokens_at_one_input_alone(stages: int, side: int) -> None:
    config = BoatCSwinConfig(8, (1,) * stages, (2,) * stages)
    assert config.at((side, side)) is config
    with pytest.raises(ShapeError, match=f"only at {side}x{side}"):
        config.at((side + 32, side))


def test_content_attention_stands_in_every_other_block_from_the_first_on() -> None:
    with torch.device("meta"):
        model = BoatCSwinTransformer(BoatCSwinConfig(8, (1, 2, 3, 1), (2, 2, 2, 2), num_classes=2))
    found = {name for name, module in model.named_modules() if isinstance(module, BoatBlock)}
    assert found == {"stage1.0", "stage2.0", "stage3.0", "stage3.2", "stage4.0"}
    assert (coupled(model), SCALE) == (2, 1.0)
