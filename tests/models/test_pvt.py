"""PVT: position embeddings at other sizes, the class token, stage maps, configurations."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import RequestError
from slide_export.inference.fuse import inference_form
from slide_export.models import ShapeError, config_tree, pvt, slide_pvt
from slide_export.models.pvt import PvtConfig, PyramidVisionTransformer
from tests.conftest import randomise

SMALL = PvtConfig((16, 32, 48, 64), (1, 2, 1, 1), (1, 2, 3, 4), image_size=(64, 64), num_classes=10)
SINGLE = 1e-5  # float32, folded constants


def model(config: PvtConfig) -> PyramidVisionTransformer:
    torch.manual_seed(0)
    built = randomise(PyramidVisionTransformer(config))
    assert isinstance(built, PyramidVisionTransformer)
    return built


def test_class_token_is_read_and_seen() -> None:
    built, images = model(SMALL), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        x = built.maps(images, class_token=True)[2].permute(0, 3, 1, 2)
        tokens = built.patch_embed4(x).flatten(1, 2)
        tokens = torch.cat((built.cls_token.expand(2, -1, -1), tokens), dim=1) + built.pos_embed4
        expected = built.head(built.norm(built.block4[0](tokens[:, None])[:, 0, 0]))
        assert (built(images) - expected).abs().max() < SINGLE
        built.cls_token[0, 0, ::2] += 1
        assert (built(images) - expected).abs().max() > 100 * SINGLE


def test_without_a_class_token_the_normed_map_is_averaged() -> None:
    built, images = model(replace(SMALL, class_token=False)), torch.randn(2, 3, 64, 64)
    assert built.pos_embed4.shape == (1, 4, 64)
    with torch.inference_mode():
        last = built.maps(images, class_token=False)[-1]
        expected = built.head(built.norm(last.reshape(2, 4, 64)).mean(dim=1))
        assert (built(images) - expected).abs().max() < SINGLE


def test_features_are_the_maps_without_a_class_token() -> None:
    maps = model(SMALL).features(torch.randn(2, 3, 64, 64))
    assert [tuple(x.shape) for x in maps] == [(2, 16, 16, 16), (2, 32, 8, 8), (2, 48, 4, 4), (2, 64, 2, 2)]


@pytest.mark.parametrize(
    "config", [SMALL, replace(SMALL, slide_stages=(0, 1)), replace(SMALL, slide_stages=(3,), class_token=False)]
)
def test_fused_model_is_the_trained_one(config: PvtConfig) -> None:
    built, images = model(config), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert (inference_form(built)(images) - built(images)).abs().max() < SINGLE


def test_a_remainder_of_the_input_is_dropped() -> None:
    built, images = model(SMALL.at((66, 67))), torch.randn(1, 3, 66, 67)
    assert built.pos_embed3.shape == (1, 4 * 4, 48)
    with torch.inference_mode():
        assert torch.equal(built(images), built(images[:, :, :64, :64]))


def test_adapt_resizes_every_table_and_leaves_the_class_position() -> None:
    state = model(SMALL).state_dict()
    wanted = SMALL.at((128, 96))
    adapted = pvt.adapt(state, SMALL, wanted)
    PyramidVisionTransformer(wanted).load_state_dict(adapted, strict=True)
    assert torch.equal(adapted["pos_embed4"][:, 0], state["pos_embed4"][:, 0])
    grid = state["pos_embed4"][0, 1:].T.reshape(1, 64, 2, 2)
    expected = functional.interpolate(grid, size=(4, 3), mode="bilinear", align_corners=False)[0].flatten(1).T
    assert torch.equal(adapted["pos_embed4"][0, 1:], expected)
    assert torch.equal(adapted["head.weight"], state["head.weight"])


def test_at_448_stage_2_is_resized_too() -> None:
    config = pvt.VARIANTS["pvt_tiny"]
    tables = {f"pos_embed{n + 1}": torch.randn(1, 49 * 4 ** (3 - n) + (n == 3), 2) for n in range(4)}
    assert pvt.adapt(tables, config, config.at((448, 448)))["pos_embed2"].shape == (1, 3136, 2)


def test_infer_reads_the_input_from_the_first_table() -> None:
    for config in (
        pvt.VARIANTS["pvt_small"].at((448, 448)),
        replace(slide_pvt.VARIANTS["slide_pvt_tiny"], kernel_size=5, class_token=False),
    ):
        with torch.device("meta"):
            state = PyramidVisionTransformer(config).state_dict()
        assert pvt.infer(state) == config


def test_infer_refuses_what_is_no_square() -> None:
    with torch.device("meta"):
        state = PyramidVisionTransformer(pvt.VARIANTS["pvt_tiny"].at((224, 448))).state_dict()
    with pytest.raises(ShapeError, match="no square"):
        pvt.infer(state)


def test_checkpoint_with_our_tree_loads_and_a_too_small_input_is_refused(tmp_path: Path) -> None:
    tree = config_tree.write_config(SMALL, "pvt")
    torch.save({"model": model(SMALL).state_dict(), "config": tree}, tmp_path / "small.pth")
    loaded = load_checkpoint(tmp_path / "small.pth", input_size=(96, 128))
    assert (loaded.family, loaded.config) == ("pvt", SMALL.at((96, 128)))
    with pytest.raises(RequestError, match="28x64 gives a map of 7x16 in stage 1"):
        load_checkpoint(tmp_path / "small.pth", input_size=(28, 64))


@pytest.mark.parametrize("name", pvt.VARIANTS)
def test_parameters_are_near_the_published(name: str) -> None:
    with torch.device("meta"):
        count = sum(value.numel() for value in PyramidVisionTransformer(pvt.VARIANTS[name]).parameters())
    assert count / 1e6 == pytest.approx(pvt.PUBLISHED[name].parameters_m, abs=0.06)
