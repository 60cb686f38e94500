"""A form is chosen for every slide attention, by name or by target."""

import pytest
import torch

from slide_export.cli import main as cli
from slide_export.core.errors import RequestError
from slide_export.core.model import Model
from slide_export.inference.choose import choose, names
from slide_export.inference.forms import FORMS
from slide_export.inference.fuse import fuse
from slide_export.models.slide_attention import FusedSlideAttention

ROUNDING = 2e-5


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_trained_models_logits(form: str, model: Model) -> None:
    lowered = choose(fuse(model), "onnx", form)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert (lowered.module(x) - model.module(x)).abs().max() < ROUNDING
    assert not any(isinstance(layer, FusedSlideAttention) for layer in lowered.module.modules())
    assert lowered.form == form


def test_auto_takes_a_form_that_exists(model: Model) -> None:
    assert choose(fuse(model), "onnx", "auto").form in FORMS


def test_an_unknown_form_is_refused_with_the_list(model: Model) -> None:
    with pytest.raises(RequestError, match=", ".join(names())):
        choose(fuse(model), "onnx", "im2col")


def test_each_stage_can_have_its_own_form(model: Model) -> None:
    lowered = choose(fuse(model), "onnx", "taps,shifts")
    kinds = [type(lowered.module.layers[stage].blocks[0].attn).__name__ for stage in range(2)]
    assert (lowered.form, kinds) == ("taps,shifts", ["TapsSlideAttention", "ShiftsSlideAttention"])


def test_a_form_too_many_is_refused_with_the_number_of_stages(model: Model) -> None:
    with pytest.raises(RequestError, match="each of 2 stages"):
        choose(fuse(model), "onnx", "taps,shifts,taps")


def test_the_help_names_every_form(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["export", "--help"]) == 0
    said = capfd.readouterr().out
    assert all(f" {name}" in said for name in names())
