"""Configurations read from shapes and from config trees; other input sizes; backbone features."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from slide_export.models import IncompleteError, ShapeError, slide_swin, swin
from slide_export.models.swin import SwinConfig, SwinTransformer
from tests.conftest import SMALL, randomise

CONFIGS = [
    SMALL,
    replace(SMALL, window=(2, 2)),  # shifted windows: the input size is read from a mask
    replace(SMALL, slide_stages=1, kernel_size=5),
    replace(SMALL, slide_stages=0, window=(4, 4), num_classes=3),
    replace(SMALL, image_size=(224, 224), window=(56, 56), kernel_size=7),
]


def same_model(a: SwinConfig, b: SwinConfig) -> bool:
    keys = [{key: value.shape for key, value in SwinTransformer(config).state_dict().items()} for config in (a, b)]
    return keys[0] == keys[1] and a.image_size == b.image_size


@pytest.mark.parametrize("config", CONFIGS)
def test_infer_reads_the_model_from_its_shapes(config: SwinConfig) -> None:
    inferred = swin.infer(SwinTransformer(config).state_dict())
    assert same_model(inferred, config)
    assert replace(inferred, window=config.window) == config


def test_infer_tells_window_7_from_window_56() -> None:
    by_window = {}
    for window in (7, 56):
        with torch.device("meta"):
            config = replace(slide_swin.VARIANTS["slide_swin_tiny"], window=(window, window))
            by_window[window] = swin.infer(SwinTransformer(config).state_dict())
    assert by_window[7].window == (7, 7)
    assert by_window[56].window == (14, 14)  # 56 is clamped to the map, 14x14 in stage 3
    assert by_window[7].image_size == by_window[56].image_size == (224, 224)


def test_infer_refuses_slide_attention_after_window_attention() -> None:
    state = SwinTransformer(SMALL).state_dict()
    state["layers.3.blocks.0.attn.relative_position_bias_table"] = torch.zeros(1, 8, 1, 9, 1, 1)
    with pytest.raises(ShapeError, match="first stages"):
        swin.infer(state)


@pytest.mark.parametrize("size", [(64, 96), (96, 96), (72, 60), (65, 71)])
def test_any_input_size_runs_with_resized_tables(size: tuple[int, int]) -> None:
    trained = randomise(SwinTransformer(SMALL))
    wanted = SMALL.at(size)
    resized = SwinTransformer(wanted).eval()
    missing, unexpected = resized.load_state_dict(swin.adapt(trained.state_dict(), SMALL, wanted), strict=False)
    assert not unexpected
    assert all(key.endswith(swin.REBUILT) for key in missing)
    assert resized(torch.randn(2, 3, *size)).isfinite().all()


@pytest.mark.parametrize(("rule", "window"), [("scale", (8, 7)), ("floor", (7, 7))])
def test_a_scaled_window_is_rounded_or_cut(rule: str, window: tuple[int, int]) -> None:
    """7 * 248 / 224 is 7.75, and 7 * 232 / 224 is 7.25."""
    config = replace(swin.VARIANTS["swin_tiny"], resized_window=rule)  # type: ignore[arg-type]
    assert config.at((248, 232)).window == window


def test_384_gets_swins_own_window() -> None:
    assert swin.VARIANTS["swin_base"].at((384, 384)).window == (12, 12)


def test_features_are_the_stage_maps_at_strides_4_to_32() -> None:
    model = randomise(SwinTransformer(SMALL))
    with torch.inference_mode():
        maps = model.features(torch.randn(2, 3, 64, 64))
    assert [tuple(m.shape) for m in maps] == [(2, 16, 16, 16), (2, 32, 8, 8), (2, 64, 4, 4), (2, 128, 2, 2)]


def test_head_reads_the_last_feature() -> None:
    model, x = randomise(SwinTransformer(SMALL)), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        last = model.features(x)[-1].permute(0, 2, 3, 1)
        assert torch.allclose(model.head(model.norm(last).mean(dim=(1, 2))), model(x), atol=1e-6)


def tree(**data: Any) -> dict[str, Any]:
    numbers = {"EMBED_DIM": 16, "DEPTHS": [1, 2, 2, 1], "NUM_HEADS": [1, 2, 4, 8], "WINDOW_SIZE": 7, "MLP_RATIO": 4.0}
    return {
        "MODEL": {"TYPE": "slide_swin", "NUM_CLASSES": 10, "SWIN": numbers, "SLIDE": {"KA": 3, "NUM_SLIDE_STAGES": 2}},
        "DATA": {"IMG_SIZE": 64, **data},
    }


def test_read_config_takes_upstreams_tree() -> None:
    assert swin.read_config(tree()) == SMALL


def test_read_config_names_what_a_tree_does_not_say() -> None:
    told = tree()
    del told["MODEL"]["SWIN"]["DEPTHS"], told["MODEL"]["SLIDE"]["KA"]
    told["DATA"]["IMG_SIZE"] = None
    with pytest.raises(IncompleteError) as refused:
        swin.read_config(told)
    assert refused.value.missing == ("MODEL.SWIN.DEPTHS", "DATA.IMG_SIZE", "MODEL.SLIDE.KA")


def test_read_data_takes_crop_mean_and_interpolation() -> None:
    data = slide_swin.read_data({**tree(MEAN=[0.5] * 3, INTERPOLATION="bilinear"), "TEST": {"CROP": False}}, SMALL)
    assert (data.mean, data.interpolation, data.keep_aspect, data.scale) == ((0.5,) * 3, "bilinear", False, 1.0)
