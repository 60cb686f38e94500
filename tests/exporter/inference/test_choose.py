"""A form is chosen for every slide attention, by name or by target."""

from dataclasses import replace

import pytest
import torch

from slide_export.checkpoint.load import load_checkpoint
from slide_export.cli import main as cli
from slide_export.core.errors import RequestError
from slide_export.core.model import Model
from slide_export.inference.choose import choose, forms_of_layer, names, refuse_unfit, width
from slide_export.inference.forms import FORMS, SAMPLINGS
from slide_export.inference.fuse import fuse
from slide_export.models import sampling
from slide_export.models.config_tree import write_config
from slide_export.models.dat import FAMILY
from slide_export.models.deformable_attention import FusedDeformableAttention
from slide_export.models.slide_attention import FusedSlideAttention, SlideAttention
from tests.conftest import randomise
from tests.models.dat_configs import PLUS_PLUS, SMALL

ROUNDING = 2e-5


@pytest.fixture(scope="module")
def dat_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("dat") / "dat.pth"
    state = randomise(FAMILY.build(SMALL)).state_dict()
    torch.save({"model": state, "config": write_config(SMALL, "dat")}, path)
    return load_checkpoint(path)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_trained_models_logits(form: str, model: Model) -> None:
    lowered = choose(fuse(model), form)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert (lowered.module(x) - model.module(x)).abs().max() < ROUNDING
    assert not any(isinstance(layer, FusedSlideAttention) for layer in lowered.module.modules())
    assert lowered.form == form


def test_auto_takes_a_form_that_exists(model: Model) -> None:
    assert choose(fuse(model), "auto").form in FORMS


def test_an_unknown_form_is_refused_with_the_list(model: Model) -> None:
    with pytest.raises(RequestError, match=", ".join(("auto", *FORMS))):
        choose(fuse(model), "im2col")


def test_each_stage_can_have_its_own_form(model: Model) -> None:
    lowered = choose(fuse(model), "taps,shifts")
    kinds = [type(lowered.module.layers[stage].blocks[0].attn).__name__ for stage in range(2)]
    assert (lowered.form, kinds) == ("taps,shifts", ["TapsSlideAttention", "ShiftsSlideAttention"])


def test_a_form_too_many_is_refused_with_the_number_of_stages(model: Model) -> None:
    with pytest.raises(RequestError, match="each of 2 stages"):
        choose(fuse(model), "taps,shifts,taps")


@pytest.mark.parametrize("form", SAMPLINGS)
def test_a_dat_samples_in_the_form_that_was_asked_for(form: str, dat_model: Model) -> None:
    lowered = choose(fuse(dat_model), form)
    layers = [layer for layer in lowered.module.modules() if isinstance(layer, FusedDeformableAttention)]
    assert {layer.form for layer in layers} == {form} == {lowered.form}
    x = torch.randn(2, 3, *SMALL.image_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert (lowered.module(x) - dat_model.module(x)).abs().max() < ROUNDING


def test_every_form_of_sampling_can_be_asked_for() -> None:
    assert SAMPLINGS.keys() == set(sampling.FORMS)


def test_auto_of_a_dat_is_the_targets_sampling(dat_model: Model) -> None:
    fused = fuse(dat_model)
    assert choose(fused, "auto", auto="shifts").form == "hats"
    assert choose(fused, "auto", auto="shifts", sampling="grid_sample").form == "grid_sample"


def test_each_stage_of_a_dat_can_sample_in_its_own_form(dat_model: Model) -> None:
    assert choose(fuse(dat_model), "hats,grid_sample").form == "hats,grid_sample"


def test_a_form_of_another_attention_is_refused_with_the_models_own(model: Model, dat_model: Model) -> None:
    for refused in (lambda: choose(fuse(dat_model), "taps"), lambda: refuse_unfit(dat_model.module, "taps")):
        with pytest.raises(RequestError, match="expected a form of this model's attention, auto, hats, grid_sample"):
            refused()
    with pytest.raises(RequestError, match=r"this model's attention, auto, grouped, .*found 'hats'"):
        refuse_unfit(model.module, "hats")


def test_points_that_stand_still_have_no_form() -> None:
    module = FAMILY.build(replace(PLUS_PLUS, still=(True,) * 4, biased=(False,) * 4))
    assert all(forms_of_layer(layer) is None for layer in module.modules())


def test_only_an_attention_with_several_forms_has_a_width() -> None:
    assert width(SlideAttention(12, 3)) == width(SlideAttention(12, 3).fuse()) == 12
    with pytest.raises(TypeError, match="expected an attention that has several forms, found Linear"):
        width(torch.nn.Linear(12, 12))


def test_the_help_names_every_form(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["export", "--help"]) == 0
    said = capfd.readouterr().out
    assert all(f" {name}" in said for name in names())
