"""What Slide-Swin changes in Swin."""

import pytest
import torch

from slide_export.models import FAMILIES, family_of, slide_swin, swin, variants
from slide_export.models.swin import SwinTransformer
from tests.conftest import SMALL


def test_slide_and_plain_swin_are_told_apart() -> None:
    slide = SwinTransformer(SMALL).state_dict()
    plain = SwinTransformer(swin.resize(swin.VARIANTS["swin_tiny"].at((64, 64)), SMALL)).state_dict()
    assert [family.name for family in FAMILIES if family.matches(slide)] == ["slide_swin"]
    assert [family.name for family in FAMILIES if family.matches(plain)] == ["swin"]


def test_variants_slide_in_two_stages_with_the_released_window() -> None:
    config = slide_swin.VARIANTS["slide_swin_base"]
    assert (config.slide_stages, config.window, config.embed_dim) == (2, (56, 56), 128)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("slide_swin_tiny", 28_348_834), ("slide_swin_small", 49_747_378), ("slide_swin_base", 87_948_704)],
)
def test_parameters_are_upstreams(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = family_of(name).build(family_of(name).variants[name])
    assert sum(value.numel() for value in model.parameters()) == parameters


def test_variant_names_are_unique() -> None:
    assert len(set(variants())) == len(variants())
    with pytest.raises(KeyError):
        family_of("resnet50")
