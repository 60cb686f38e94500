"""Twins: upstream's outputs, fused forms, padding, configurations from shapes, sizes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError
from slide_export.inference.fuse import inference_form
from slide_export.models import ShapeError, twins
from slide_export.models.group_attention import GroupAttention
from slide_export.models.twins import Twins, TwinsConfig
from slide_export.tasks import CLASSIFY
from tests.conftest import randomise
from tests.models.golden_recipe import Case, case

GOLDEN = 1e-5  # of the output's deviation: upstream and we both compute in float32, with sums in another order
EXACT = 1e-12  # float64 on both sides, the same terms in another order
SINGLE = 1e-5  # float32, folded constants

CLASSIFIERS = ("twins_pcpvt", "twins_svt")
BACKBONES = {"twins_seg_svt_pad": "mask", "twins_seg_svt_pad_w": "mask", "twins_det_svt_pad": "zeros"}
SMALL = TwinsConfig((16, 32, 48, 64), (2, 2, 1, 2), (1, 2, 3, 4), image_size=(64, 96), num_classes=10)
SVT = replace(SMALL, windows=(4, 4, 2, 1))
PADDED = replace(SVT, windows=(7, 5, 3, 7), padding="mask", stage_norms=True)


def upstream(golden: Case) -> Twins:
    """Build our model of upstream's options, with the case's weights."""
    options: dict[str, Any] = golden.options
    config = TwinsConfig(
        embed_dims=tuple(options["embed_dims"]),
        depths=tuple(options["depths"]),
        heads=tuple(options["num_heads"]),
        mlp_ratios=tuple(options["mlp_ratios"]),
        reductions=tuple(options["sr_ratios"]),
        windows=tuple(options.get("wss", TwinsConfig.windows)),
        padding=BACKBONES.get(golden.name, "refuse"),
        stage_norms=options.get("extra_norm", False),
        image_size=(golden.meta["input_shape"][2], golden.meta["input_shape"][3]),
        num_classes=options["num_classes"],
    )
    model = Twins(config).eval()
    model.load_state_dict(golden.state, strict=True)
    return model


def model(config: TwinsConfig) -> Twins:
    torch.manual_seed(0)
    built = randomise(Twins(config))
    assert isinstance(built, Twins)
    return built


def distance(ours: Tensor, theirs: Any) -> float:
    expected = torch.from_numpy(theirs)
    return float((ours - expected).abs().max() / expected.std())


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("fused", [False, True])
def test_classifier_gives_upstreams_logits_and_features(name: str, fused: bool) -> None:
    golden = case(name)
    trained = upstream(golden)
    ours = inference_form(trained) if fused else trained
    assert isinstance(ours, Twins)
    with torch.inference_mode():
        maps = ours.maps(golden.inputs["input"])
        assert distance(ours(golden.inputs["input"]), golden.outputs["logits"]) <= GOLDEN
    for stage, x in enumerate(maps, start=1):
        assert distance(x.flatten(1, 2), golden.outputs[f"feature.stage{stage}"]) <= GOLDEN


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("fused", [False, True])
def test_backbone_gives_upstreams_maps(name: str, fused: bool) -> None:
    golden = case(name)
    trained = upstream(golden)
    ours = inference_form(trained) if fused else trained
    assert isinstance(ours, Twins)
    with torch.inference_mode():
        maps = ours.features(golden.inputs["input"])
    for stage, x in enumerate(maps, start=1):
        assert distance(x, golden.outputs[f"feature.stage{stage}"]) <= GOLDEN


@pytest.mark.parametrize("name", ["twins_seg_svt_pad", "twins_det_svt_pad"])
def test_the_other_padding_is_another_function(name: str) -> None:
    golden = case(name)
    trained = upstream(golden)
    other = {"mask": "zeros", "zeros": "mask"}[trained.config.padding]
    wrong = Twins(replace(trained.config, padding=other)).eval()
    wrong.load_state_dict(golden.state)
    with torch.inference_mode():
        last = wrong.features(golden.inputs["input"])[-1]
    assert distance(last, golden.outputs["feature.stage4"]) > 1000 * GOLDEN


def test_with_one_padded_axis_the_mask_is_none() -> None:
    attention = [GroupAttention(8, 2, size, 4, "mask") for size in ((8, 6), (6, 8), (6, 6), (8, 8))]
    assert [layer.mask is not None for layer in attention] == [False, False, True, False]


@pytest.mark.parametrize("config", [SMALL, SVT, SMALL.at((70, 100)), PADDED])
def test_fused_model_is_the_trained_one(config: TwinsConfig) -> None:
    built, images = model(config).double(), torch.randn(2, 3, *config.image_size, dtype=torch.float64)
    fused = inference_form(built)
    assert isinstance(fused, Twins)
    with torch.inference_mode():
        pairs = zip(fused.features(images), built.features(images), strict=True)
        assert max(float((ours - theirs).abs().max()) for ours, theirs in pairs) < EXACT


def test_positions_are_added_by_one_convolution() -> None:
    fused = inference_form(model(SVT))
    names = {name for name, _ in fused.named_parameters() if name.startswith("pos_block")}
    assert names == {f"pos_block.{stage}.conv.{part}" for stage in range(4) for part in ("weight", "bias")}


def test_logits_are_the_head_of_the_last_maps_normed_mean() -> None:
    built, images = model(SVT), torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        last = built.features(images)[-1].permute(0, 2, 3, 1)
        normed = (last - last.mean(-1, keepdim=True)) / (last.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
        normed = normed * built.norm.weight + built.norm.bias
        expected = normed.mean(dim=(1, 2)) @ built.head.weight.T + built.head.bias
        assert (built(images) - expected).abs().max() < SINGLE


@pytest.mark.parametrize("name", twins.VARIANTS)
def test_infer_reads_each_variant(name: str) -> None:
    config = twins.VARIANTS[name]
    with torch.device("meta"):
        assert twins.infer(Twins(config).state_dict()) == config
        backbone = replace(config, stage_norms=True, padding="zeros" if config.windows[0] > 1 else "refuse")
        assert twins.infer(Twins(backbone).state_dict()) == backbone


def test_widths_that_are_not_published_leave_the_heads_open() -> None:
    with pytest.raises(ShapeError, match="whose heads no shape tells"):
        twins.infer(model(SMALL).state_dict())


@pytest.mark.parametrize("side", [240, 256, 112])
def test_svt_refuses_what_upstream_fails_on(side: int) -> None:
    with pytest.raises(ShapeError, match="windows of 7x7 do not divide"):
        twins.VARIANTS["twins_svt_small"].at((side, side))


def test_sizes_that_upstream_takes() -> None:
    assert twins.VARIANTS["twins_svt_small"].at((448, 224)).resolution(3) == (14, 7)
    assert twins.VARIANTS["twins_pcpvt_small"].at((100, 100)).resolution(0) == (25, 25)
    assert replace(twins.VARIANTS["twins_svt_small"], padding="zeros").at((240, 256)).resolution(0) == (60, 64)
    with pytest.raises(ShapeError, match="stage 1, which needs 8"):
        SMALL.at((28, 64))


def test_a_window_that_does_not_fit_and_an_unknown_padding_are_refused() -> None:
    with pytest.raises(ShapeError, match="a map of 6x8, which windows of 4x4 do not divide"):
        GroupAttention(8, 2, (6, 8), 4, "refuse")
    with pytest.raises(ShapeError, match="padding 'reflect', where one of refuse, zeros, mask is expected"):
        GroupAttention(8, 2, (6, 8), 4, "reflect")


@pytest.mark.parametrize(("name", "values"), [("twins_seg_svt_pad", {"padding": "mask"}), ("twins_svt", {})])
def test_what_no_key_tells_can_be_said(name: str, values: dict[str, str], tmp_path: Path) -> None:
    golden = case(name)
    windows = ",".join(map(str, golden.options["wss"]))
    torch.save(dict(golden.state), tmp_path / "model.pth")
    told = {"heads": ",".join(map(str, golden.options["num_heads"])), "windows": windows, **values}
    size = (golden.meta["input_shape"][2], golden.meta["input_shape"][3])
    loaded = load_checkpoint(tmp_path / "model.pth", values=told, input_size=size, features=True)
    with torch.inference_mode():
        last = loaded.module.features(golden.inputs["input"])[-1]
    expected = golden.outputs["feature.stage4"]
    assert distance(last if values else last.flatten(2).transpose(1, 2), expected) <= GOLDEN


@pytest.mark.parametrize("windows", ["7,7,7", "7,7,7,1"])
def test_windows_that_the_blocks_cannot_have_are_refused(windows: str, tmp_path: Path) -> None:
    torch.save(dict(case("twins_svt").state), tmp_path / "model.pth")
    with pytest.raises(RequestError, match="the blocks of each stage have window,window,window,window"):
        load_checkpoint(tmp_path / "model.pth", values={"heads": "2,2,3,4", "windows": windows})


def test_a_backbone_gives_maps_and_no_logits() -> None:
    built, images = model(PADDED), torch.randn(1, 3, 64, 96)
    assert all(torch.equal(a, b) for a, b in zip(built(images), built.features(images), strict=True))
    with pytest.raises(RequestError, match="a backbone that gives maps and no logits"):
        CLASSIFY.check(ModelIO(), PADDED)
    CLASSIFY.check(ModelIO(), SMALL)


@pytest.mark.parametrize("name", twins.VARIANTS)
def test_parameters_are_near_the_published(name: str) -> None:
    with torch.device("meta"):
        count = sum(value.numel() for value in Twins(twins.VARIANTS[name]).parameters())
    assert count / 1e6 == pytest.approx(twins.PUBLISHED[name].parameters_m, abs=0.1)
