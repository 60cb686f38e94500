"""NAT's configurations and input sizes, and Slide-NAT's options."""

from dataclasses import replace

import pytest
import torch

from slide_export.models import FAMILIES, ShapeError, nat, slide_nat
from slide_export.models.nat import Nat, NatConfig
from slide_export.models.neighborhood_attention import NeighborhoodAttention
from slide_export.models.slide_attention import SlideAttention
from tests.conftest import randomise

SMALL = NatConfig(16, (1, 2, 1, 1), (1, 2, 2, 4), 2.0, kernel_size=5, image_size=(64, 64), num_classes=10)


def meta(config: NatConfig) -> Nat:
    with torch.device("meta"):
        return Nat(config)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"layer_scale": nat.LAYER_SCALE, "kernel_size": 7, "mlp_ratio": 3.0},
        {"slide_stages": (0, 1)},
        {"slide_stages": (1, 3), "slide_kernel": 5, "num_classes": 3},
    ],
)
def test_infer_reads_the_model_from_its_shapes(changes: dict[str, object]) -> None:
    config = replace(SMALL, image_size=(224, 224), **changes)
    assert nat.infer(meta(config).state_dict()) == config


def test_infer_refuses_a_level_without_a_table() -> None:
    state = meta(SMALL).state_dict()
    del state["levels.1.blocks.0.attn.rpb"]
    with pytest.raises(ShapeError, match=r"neither attn\.rpb"):
        nat.infer(state)


@pytest.mark.parametrize("size", [(64, 96), (100, 60), (33, 250)])
def test_any_input_size_runs_with_the_trained_weights(size: tuple[int, int]) -> None:
    trained, resized = randomise(Nat(SMALL)), Nat(SMALL.at(size)).eval()
    resized.load_state_dict(nat.FAMILY.adapt(trained.state_dict(), SMALL, SMALL.at(size)), strict=True)
    with torch.inference_mode():
        maps = resized.features(torch.randn(2, 3, *size))
        assert resized(torch.randn(2, 3, *size)).isfinite().all()
    assert [tuple(x.shape[2:]) for x in maps] == [SMALL.at(size).resolution(stage) for stage in range(4)]


def test_head_reads_the_last_feature() -> None:
    model, x = randomise(Nat(SMALL)), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        last = model.features(x)[-1].permute(0, 2, 3, 1)
        assert torch.allclose(model.head(model.norm(last).mean(dim=(1, 2))), model(x), atol=1e-6)


@pytest.mark.parametrize(("slide_stages", "expected"), [((), "nat"), ((0, 1), "slide_nat"), ((2,), "slide_nat")])
def test_one_family_recognises_it(slide_stages: tuple[int, ...], expected: str) -> None:
    state = meta(replace(SMALL, slide_stages=slide_stages)).state_dict()
    assert [family.name for family in FAMILIES if family.matches(state)] == [expected]


def test_slide_variants_slide_in_two_levels_and_keep_the_residual_scales() -> None:
    model = meta(slide_nat.VARIANTS["slide_nat_small"])
    kinds = [type(level.blocks[0].attn) for level in model.levels]
    assert kinds == [SlideAttention, SlideAttention, NeighborhoodAttention, NeighborhoodAttention]
    assert model.state_dict()["levels.0.blocks.0.gamma1"].shape == (96,)
