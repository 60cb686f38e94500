"""MV-Swin-T: configurations read from shapes, sizes that the fusing layer fits, which view influences which."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from slide_export.inference.fuse import inference_form
from slide_export.models import ShapeError, config_tree, mv_swin_t
from slide_export.models.cosine_attention import offsets
from slide_export.models.mv_swin_t import MvSwinConfig, MvSwinTransformer
from tests.conftest import randomise

SMALL = MvSwinConfig(8, (2, 2, 2, 2), (1, 2, 2, 4), window=2, image_size=(64, 64), num_classes=3)


def pair(batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    cc, mlo = (torch.rand(batch, 3, 64, 64, generator=generator) for _ in range(2))
    return cc, mlo


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, mixed_stages=(0, 1)), mv_swin_t.VARIANTS["mv_swin_t"]])
def test_infer_reads_the_whole_model_from_its_shapes(config: MvSwinConfig) -> None:
    with torch.device("meta"):
        state = MvSwinTransformer(config).state_dict()
    assert mv_swin_t.matches(state)
    assert mv_swin_t.infer(state) == config


def test_read_config_is_the_inverse_of_the_written_tree() -> None:
    assert mv_swin_t.read_config(config_tree.write_config(SMALL, "mv_swin_t")) == SMALL


@pytest.mark.parametrize("wrong", [replace(SMALL, window=4), replace(SMALL, image_size=(64, 96))])
def test_a_window_that_is_not_a_32nd_of_the_input_is_refused(wrong: MvSwinConfig) -> None:
    with pytest.raises(ShapeError, match="fusing layer"):
        MvSwinTransformer(wrong)


def test_another_size_is_refused() -> None:
    assert SMALL.at((64, 64)) == SMALL
    with pytest.raises(ShapeError, match="64x64 alone"):
        SMALL.at((96, 96))


def test_each_view_looks_at_the_other_in_the_mixed_stage_alone() -> None:
    model = randomise(MvSwinTransformer(SMALL))
    cc, mlo = pair()
    with torch.no_grad():
        before, after = model.views(cc, mlo), model.views(cc, mlo.flip(-1))
    assert torch.equal(before[0][0], after[0][0])  # stage 1: CC alone
    assert not torch.equal(before[1][0], after[1][0])  # stage 2: with MLO


def test_the_views_are_not_interchangeable() -> None:
    model = randomise(MvSwinTransformer(SMALL))
    cc, mlo = pair()
    with torch.no_grad():
        assert (model(cc, mlo) - model(mlo, cc)).abs().max() > 1e-3


def test_a_batch_is_its_pairs_one_by_one() -> None:
    model = inference_form(randomise(MvSwinTransformer(SMALL)))
    cc, mlo = pair(3)
    with torch.no_grad():
        single = torch.cat([model(cc[n : n + 1], mlo[n : n + 1]) for n in range(3)])
        assert torch.allclose(model(cc, mlo), single, atol=1e-6)


def test_the_inference_form_computes_the_same() -> None:
    model = randomise(MvSwinTransformer(SMALL)).double()
    cc, mlo = (view.double() for view in pair())
    with torch.no_grad():
        assert torch.allclose(inference_form(model)(cc, mlo), model(cc, mlo), rtol=1e-12, atol=1e-13)


def test_strengths_are_cut_at_100() -> None:
    model = randomise(MvSwinTransformer(SMALL))
    cc, mlo = pair()
    scale = model.layers[0].blocks[0].attn.logit_scale_1
    with torch.no_grad():
        scale.fill_(4.7)  # log 100 is 4.605
        expected = model(cc, mlo)
        scale.fill_(9.0)
        assert torch.equal(model(cc, mlo), expected)


def test_offsets_are_logarithmic_and_odd() -> None:
    table = offsets((4, 4))[0]
    assert table.shape == (7, 7, 2)
    assert torch.allclose(table[:, 0, 0], -table[:, 0, 0].flip(0))
    assert table[6, 0, 0].item() == pytest.approx(torch.log2(torch.tensor(9.0)).item() / 3)


def test_images_are_not_normalised() -> None:
    data = mv_swin_t.read_data(None, SMALL)
    assert (data.mean, data.std, data.interpolation) == ((0.0,) * 3, (1.0,) * 3, "bilinear")
    assert data.resized((384, 384)) == (384, 384)
    assert not data.keep_aspect
