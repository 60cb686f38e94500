"""The only window and the only input that BOAT on Swin has, and where its attention stands."""

import pytest
import torch

from slide_export.models.boat_swin import BoatBlock, BoatSwinConfig, BoatSwinTransformer, boat
from slide_export.models.family import ShapeError
from slide_export.models.swin import SwinConfig

SMALL = BoatSwinConfig(8, (1, 2, 2, 2), (1, 1, 1, 1), num_classes=2)


@pytest.mark.parametrize(("stages", "side"), [(4, 224), (3, 112), (1, 28)])
def test_clusters_have_49_tokens_at_one_input_alone(stages: int, side: int) -> None:
    config = BoatSwinConfig(8, (1,) * stages, (1,) * stages)
    assert config.at((side, side)) is config
    for other in ((side + 32, side + 32), (side, side + 1), (2 * side, 2 * side)):
        with pytest.raises(ShapeError, match=f"only at {side}x{side}"):
            config.at(other)


@pytest.mark.parametrize("window", [(8, 8), (7, 8), (6, 7)])
def test_another_window_is_refused(window: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match=f"a window of {window[0]}x{window[1]}, where BOAT has 7x7"):
        BoatSwinTransformer(BoatSwinConfig(**{**vars(SMALL), "window": window}))


def test_content_attention_stands_in_every_shifted_block_but_the_last_stages() -> None:
    with torch.device("meta"):
        model = BoatSwinTransformer(SMALL)
    found = {name for name, module in model.named_modules() if isinstance(module, BoatBlock)}
    assert found == {"layers.1.blocks.1", "layers.2.blocks.1"}  # the last map is one window


def test_a_boats_numbers_are_a_swins() -> None:
    config = SwinConfig(8, (1, 1), (1, 1))
    assert vars(boat(config)) == vars(config)
    assert isinstance(boat(config), BoatSwinConfig)
