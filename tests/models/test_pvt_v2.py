"""PVTv2: configurations from shapes, maps, fused forms, sizes."""

from dataclasses import replace

import pytest
import torch

from slide_export.inference.fuse import inference_form
from slide_export.models import ShapeError, pvt_v2, slide_pvt_v2
from slide_export.models.pvt_v2 import PvtV2Config, PyramidVisionTransformerV2
from tests.conftest import randomise

SMALL = PvtV2Config((16, 32, 48, 64), (1, 2, 1, 1), (1, 2, 3, 4), image_size=(64, 64), num_classes=10)
FORMS = [SMALL, replace(SMALL, linear=True), replace(SMALL, slide_stages=(0, 1)), SMALL.at((70, 90))]
SINGLE = 1e-5  # float32, folded constants


def model(config: PvtV2Config) -> PyramidVisionTransformerV2:
    torch.manual_seed(0)
    built = randomise(PyramidVisionTransformerV2(config))
    assert isinstance(built, PyramidVisionTransformerV2)
    return built


@pytest.mark.parametrize("config", FORMS)
def test_fused_model_is_the_trained_one(config: PvtV2Config) -> None:
    built, images = model(config), torch.randn(2, 3, *config.image_size)
    fused = inference_form(built)
    with torch.inference_mode():
        assert (fused(images) - built(images)).abs().max() < SINGLE


def test_features_are_the_normed_maps_and_sizes_round_up() -> None:
    config = SMALL.at((70, 90))
    built, images = model(config), torch.randn(2, 3, 70, 90)
    maps = built.features(images)
    assert [tuple(x.shape[2:]) for x in maps] == [config.resolution(n) for n in range(4)]
    assert config.resolution(3) == (3, 3)
    first = built.norm1(built.block1[0](built.patch_embed1(images)))
    assert torch.equal(maps[0], first.permute(0, 3, 1, 2))


def test_logits_are_the_head_of_the_last_maps_mean() -> None:
    built, images = model(SMALL), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = built.features(images)[-1].mean(dim=(2, 3)) @ built.head.weight.T + built.head.bias
        assert (built(images) - expected).abs().max() < SINGLE


@pytest.mark.parametrize("name", [*pvt_v2.VARIANTS, *slide_pvt_v2.VARIANTS])
def test_infer_reads_each_variant(name: str) -> None:
    config = {**pvt_v2.VARIANTS, **slide_pvt_v2.VARIANTS}[name]
    with torch.device("meta"):
        assert pvt_v2.infer(PyramidVisionTransformerV2(config).state_dict()) == config


def test_the_linear_form_takes_any_size_and_the_other_refuses_small_ones() -> None:
    assert replace(SMALL, linear=True).at((8, 8)).image_size == (8, 8)
    with pytest.raises(ShapeError, match="stage 1, which needs 8"):
        SMALL.at((28, 64))


@pytest.mark.parametrize("name", ["pvt_v2_b2", "pvt_v2_b2_li", "pvt_v2_b3", "pvt_v2_b4", "pvt_v2_b5"])
def test_parameters_are_near_the_published(name: str) -> None:
    with torch.device("meta"):
        count = sum(value.numel() for value in PyramidVisionTransformerV2(pvt_v2.VARIANTS[name]).parameters())
    assert count / 1e6 == pytest.approx(pvt_v2.PUBLISHED[name].parameters_m, abs=0.06)
