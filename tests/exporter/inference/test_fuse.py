"""Fusion: same function, another class, a certificate that fails on a wrong weight."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from slide_export.core.errors import FusionError
from slide_export.core.model import Model
from slide_export.inference.fuse import certify, fuse
from slide_export.models.dat_slide_attention import DatSlideAttention
from slide_export.models.slide_attention import FusedSlideAttention, LepeSlideAttention, SlideAttention
from tests.conftest import randomise

ROUNDING = 2e-5  # float32, relative to logits of order 1


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_fused_model_is_the_trained_one(model: Model, images: torch.Tensor) -> None:
    fused = fuse(model)
    with torch.inference_mode():
        assert (fused.module(images) - model.module(images)).abs().max() < ROUNDING


def test_nothing_of_the_trained_model_is_changed(model: Model) -> None:
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    fuse(model)
    after = model.module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], value) for key, value in after.items())
    assert any(isinstance(layer, SlideAttention) for layer in model.module.modules())


def test_no_train_time_class_is_left(model: Model) -> None:
    layers = list(fuse(model).module.modules())
    assert sum(isinstance(layer, FusedSlideAttention) for layer in layers) == 3
    assert not any(hasattr(layer, "fuse") for layer in layers)


def test_untouched_weights_are_shared(model: Model) -> None:
    fused = fuse(model).module
    assert fused.get_parameter("head.weight") is model.module.get_parameter("head.weight")


def test_fusing_twice_is_refused(model: Model) -> None:
    with pytest.raises(FusionError, match="fused already"):
        fuse(fuse(model))  # type: ignore[arg-type]


def test_certificate_covers_every_block_within_its_bound(model: Model, images: torch.Tensor) -> None:
    blocks = certify(fuse(model), (images,))
    assert [block.block for block in blocks] == [
        "layers.0.blocks.0.attn",
        "layers.1.blocks.0.attn",
        "layers.1.blocks.1.attn",
    ]
    assert all(0 < block.difference <= block.bound < 1e-5 for block in blocks)
    assert all(block.drift == 0 for block in blocks)


def test_certificate_reports_drift(model: Model, images: torch.Tensor) -> None:
    drifted = copy.deepcopy(model.module)
    with torch.no_grad():
        drifted.get_parameter("layers.0.blocks.0.attn.dep_conv.weight")[3, 0, 1, 1] += 0.25
    blocks = certify(fuse(replace(model, module=drifted)), (images,))
    assert [block.drift for block in blocks] == [0.25, 0, 0]


def test_certificate_fails_on_one_wrong_weight(model: Model, images: torch.Tensor) -> None:
    fused = fuse(model)
    weight = fused.module.get_parameter("layers.1.blocks.0.attn.dep_conv.weight")
    weight.data[0, 0, 0, 0] += 1e-4
    with pytest.raises(FusionError, match=r"layers\.1\.blocks\.0\.attn: the fused convolution differs"):
        certify(fused, (images,))


OWN_VALUES = {"lepe": lambda: LepeSlideAttention(8, 2), "dat": lambda: DatSlideAttention(16, 2, share_dwc_kernel=False)}


@pytest.mark.parametrize("kind", OWN_VALUES)
def test_values_with_a_convolution_of_their_own_are_certified_too(kind: str, model: Model) -> None:
    attention = randomise(OWN_VALUES[kind]())
    alone = replace(model, module=nn.Sequential(attention))
    fused, maps = fuse(alone), torch.randn(2, 6, 5, attention.qkv.in_features)
    (block,) = certify(fused, (maps,))
    assert 0 < block.difference <= block.bound < 1e-5
    fused.module.get_parameter("0.value_conv.weight").data[0, 0, 0, 0] += 1e-4
    with pytest.raises(FusionError, match="0: the fused convolution differs"):
        certify(fused, (maps,))


@pytest.mark.parametrize(("roundings", "within"), [(0.99, True), (1.01, False)])
def test_the_bound_is_one_rounding_to_float32(roundings: float, within: bool, model: Model) -> None:
    """Without learned paths and biases a fused kernel is the shift's own: one weight a tap, so that no term cancels."""
    attention = SlideAttention(8, 2)
    randomise(attention)
    for name, value in attention.named_parameters():
        if name.startswith("dep_conv1.") or name == "dep_conv.bias":
            value.data.zero_()
    fused, maps = fuse(replace(model, module=nn.Sequential(attention))), torch.randn(1, 6, 5, 8)
    layer = fused.module.get_submodule("0").dep_conv.double()
    layer.weight.data *= 1 + roundings * 2.0**-24
    if within:
        (block,) = certify(fused, (maps,))
        assert block.bound == pytest.approx(block.difference / roundings, rel=1e-6)
    else:
        with pytest.raises(FusionError, match="differs from its two paths"):
            certify(fused, (maps,))
