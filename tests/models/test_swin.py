"""Configurations read from shapes and from config trees; other input sizes; backbone features."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from slide_export.models import IncompleteError, ShapeError, slide_swin, swin
from slide_export.models.family import UntoldError
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


def test_features_are_those_of_stages_alone() -> None:
    model = randomise(SwinTransformer(SMALL))
    model.layers[1] = torch.nn.Identity()
    with pytest.raises(TypeError, match="expected a Stage in layers, found Identity"):
        model.features(torch.randn(1, 3, 64, 64))


def test_head_reads_the_last_feature() -> None:
    model, x = randomise(SwinTransformer(SMALL)), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        last = model.features(x)[-1].permute(0, 2, 3, 1)
        assert torch.allclose(model.head(model.norm(last).mean(dim=(1, 2))), model(x), atol=1e-6)


SIZES = {
    "swin_tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24), 224, 28, 4.5, 81.2),
    "swin_small": (96, (2, 2, 18, 2), (3, 6, 12, 24), 224, 50, 8.7, 83.2),
    "swin_base": (128, (2, 2, 18, 2), (4, 8, 16, 32), 224, 88, 15.4, 83.5),
    "swin_large": (192, (2, 2, 18, 2), (6, 12, 24, 48), 224, 197, 34.5, 86.3),
    "swin_base_384": (128, (2, 2, 18, 2), (4, 8, 16, 32), 384, 88, 47.1, 84.5),
    "swin_large_384": (192, (2, 2, 18, 2), (6, 12, 24, 48), 384, 197, 103.9, 87.3),
}
"""Width, depths, heads and input of configs/swin; millions of parameters, G multiply-adds and top-1 of README.md."""


@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_figures_are_upstreams(name: str) -> None:
    """Source: microsoft/Swin-Transformer f82860b, configs/swin and README.md."""
    width, block_counts, heads, side, parameters, macs, top1 = SIZES[name]
    config, published = swin.VARIANTS[name], swin.PUBLISHED[name]
    window = (side // 32,) * 2
    assert config == SwinConfig(width, block_counts, heads, window, (side, side), 1000, 0, 3, 4.0, "scale")
    assert (published.parameters_m, published.flops_g, published.top1) == (parameters, macs, top1)
    with torch.device("meta"):
        count = sum(value.numel() for value in SwinTransformer(config).parameters())
    assert count / 1e6 == pytest.approx(parameters, abs=0.75)
    assert swin.VARIANTS.keys() == swin.PUBLISHED.keys() == SIZES.keys()


def test_what_nobody_says_of_a_swin() -> None:
    plain = SwinConfig(96, (2,), (3,))
    assert plain == SwinConfig(
        96, (2,), (3,), (7, 7), (224, 224), 1000, 0, 3, 4.0, "scale", "shrink", False, False, "gelu", 1e-5, (), ()
    )


@pytest.mark.parametrize(("whole", "sizes"), [(True, (16, 17)), (False, (17, 18))])
def test_rows_that_make_no_whole_patch_are_dropped_or_padded(whole: bool, sizes: tuple[int, int]) -> None:
    config = replace(SMALL, image_size=(67, 69), whole_patches=whole)
    assert config.resolution(0) == sizes


def test_every_other_block_is_shifted() -> None:
    model = SwinTransformer(replace(SMALL, depths=(4, 1), heads=(1, 2), slide_stages=0, window=(4, 4)))
    assert [block.attn_mask is not None for block in model.layers[0].blocks] == [False, True, False, True]


def test_windows_that_are_fixed_take_no_other_size() -> None:
    config = replace(SMALL, resized_window="fixed")
    assert config.at(SMALL.image_size) == config
    with pytest.raises(ShapeError, match="fixed for the trained size"):
        config.at((96, 96))


@pytest.mark.parametrize("rule", ["scale", "floor"])
def test_a_window_has_one_row_at_least(rule: str) -> None:
    assert replace(SMALL, window=(7, 7), resized_window=rule).at((4, 200)).window[0] == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "taken"), [((128, 128), True), ((120, 128), False), ((128, 120), False)])
def test_a_map_shorter_than_its_window_is_refused_where_the_library_cannot_run_it(
    size: tuple[int, int], taken: bool
) -> None:
    """Two stages, the last of 16x16 of 128x128: windows of 16x16, which `keep` leaves as they are."""
    config = replace(
        SMALL,
        depths=(1, 1),
        heads=(1, 2),
        window=(16, 16),
        image_size=(256, 256),
        small_maps="joint",
        resized_window="keep",
    )
    if taken:
        assert config.at(size).window == (16, 16)
    else:
        with pytest.raises(ShapeError, match="in stage 2, smaller than its window of 16x16"):
            config.at(size)
    assert replace(config, small_maps="shrink").at(size).image_size == size
    oblong = replace(config, window=(16, 8))
    assert oblong.at((128, 64)).window == (16, 8)
    with pytest.raises(ShapeError, match="a map of 15x8 in stage 2, smaller than its window of 16x8"):
        oblong.at((120, 64))


def test_keys_of_a_swin_are_told_from_others() -> None:
    state = SwinTransformer(replace(SMALL, slide_stages=0, window=(4, 4))).state_dict()
    assert swin.is_swin(state)
    assert swin.matches(state)
    assert not swin.matches(SwinTransformer(SMALL).state_dict())  # slide attention
    assert not swin.matches({**state, "layers.0.blocks.0.attnC.qkv.weight": torch.zeros(1)})  # content attention
    assert not swin.is_swin(
        {key: value for key, value in state.items() if not key.startswith("layers.0.blocks.0.attn.")}
    )
    assert not swin.is_swin({key: value for key, value in state.items() if key != "patch_embed.proj.weight"})


def test_a_stage_without_its_table_is_named() -> None:
    state = SwinTransformer(SMALL).state_dict()
    del state["layers.1.blocks.0.attn.relative_position_bias_table"]
    with pytest.raises(ShapeError, match="a stage has no layers"):
        swin.infer(state)


def test_a_slide_stage_after_a_window_stage_is_refused_wherever_it_stands() -> None:
    state = SwinTransformer(replace(SMALL, slide_stages=0, window=(2, 2))).state_dict()
    state["layers.1.blocks.0.attn.relative_position_bias_table"] = torch.zeros(1, 2, 1, 9, 1, 1)
    with pytest.raises(ShapeError, match="first stages"):
        swin.infer(state)


def test_an_oblong_window_is_told_by_somebody() -> None:
    config = replace(SMALL, slide_stages=0, window=(2, 3), image_size=(64, 96))
    state = SwinTransformer(config).state_dict()
    with pytest.raises(UntoldError, match="a table of 15 positions, which no square window has"):
        swin.infer(state)
    assert swin.infer(state, window=(2, 3)) == config
    square = replace(config, depths=(1, 2, 2, 1), window=(2, 2), image_size=(128, 128))
    assert swin.infer(SwinTransformer(square).state_dict(), window=(2, 2)) == square  # a mask tells the input


def test_a_mask_of_a_single_stage_tells_the_input() -> None:
    config = replace(SMALL, depths=(2,), heads=(1,), slide_stages=0, window=(4, 4))
    assert swin.infer(SwinTransformer(config).state_dict()).image_size == (64, 64)


def test_the_input_that_it_was_trained_with_leaves_its_windows() -> None:
    (size,) = (value for value in swin.FAMILY.values if value.name == "image_size")
    assert size.applied(SMALL, (128, 128)) == replace(SMALL, image_size=(128, 128))


def test_a_model_that_slides_everywhere_is_of_224() -> None:
    config = replace(SMALL, slide_stages=4, image_size=(224, 224))
    found = swin.infer(SwinTransformer(config).state_dict())
    assert (found.window, found.image_size) == ((7, 7), (224, 224))
    assert swin.told_size(SwinTransformer(config).state_dict()) is None


@pytest.mark.parametrize(
    ("window", "size"), [((2, 2), (64, 64)), ((7, 7), (224, 224)), ((4, 4), (64, 64)), ((2, 2), (128, 128))]
)
def test_a_shift_mask_or_a_cut_window_tells_the_input(window: tuple[int, int], size: tuple[int, int]) -> None:
    config = replace(SMALL, slide_stages=0, depths=(1, 2, 2, 1), window=window, image_size=size)
    state = SwinTransformer(config).state_dict()
    assert swin.told_size(state) == size
    unmasked = {key: value for key, value in state.items() if not key.endswith(".attn_mask")}
    assert swin.told_size(unmasked) == (size if window == (4, 4) else None)


@pytest.mark.parametrize(
    ("side", "test", "whole"), [(384, {}, True), (383, {}, False), (384, {"CROP": True}, False), (224, {}, False)]
)
def test_large_inputs_are_whole_images(side: int, test: dict[str, Any], whole: bool) -> None:
    found = swin.read_data({"TEST": test}, replace(SMALL, image_size=(side, side)))
    assert (found.keep_aspect, found.scale) == ((False, 1.0) if whole else (True, 256 / 224))


def test_what_a_user_may_say_of_a_swin() -> None:
    values = {value.name: (value.assumed, value.needed) for value in swin.FAMILY.values}
    assert values == {
        "image_size": (True, False),
        "window": (False, False),
        "window_size": (False, True),
        "activation": (False, False),
    }


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
