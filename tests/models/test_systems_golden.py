"""Every system's small upstream model, reproduced from its own weights: features, orders and outputs."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slide_export.inference.fuse import inference_form
from slide_export.models import nbnet
from slide_export.models.boat_cswin import BoatCSwinConfig, BoatCSwinTransformer
from slide_export.models.boat_swin import BoatSwinConfig, BoatSwinTransformer
from slide_export.models.cbam import CbamConfig, CbamResNet
from slide_export.models.global_attention import attention
from slide_export.models.mv_swin_t import MvSwinConfig, MvSwinTransformer
from slide_export.models.sorting import recorded
from tests.models.golden_recipe import Case, case

TOLERANCE = 1e-5
"""Largest error over the output's standard deviation. Both compute in float32, with sums in another order."""

AMPLIFIED = 1e-4
"""The same where upstream amplifies rounding: cosines times up to 100 (MV-Swin-T)."""

NOISE_MULTIPLE = 8
"""Accepted error over the noise of float32, as a proof has it."""


def resnet(case: Case) -> nn.Module:
    options = case.options
    cifar, shape = options["network_type"] != "ImageNet", case.meta["input_shape"]
    config = CbamConfig(
        depths=tuple(options["layers"]),
        bottleneck=options["block"] == "Bottleneck",
        width=options["width"],
        cifar=cifar,
        image_size=(shape[2], shape[3]),
        num_classes=options["num_classes"],
    )
    return CbamResNet(config)


def gam(case: Case) -> nn.Module:
    dialect = case.name.removeprefix("gam_")
    return attention(case.options["in_channels"], case.options["rate"], dialect)


def boat_swin(case: Case) -> nn.Module:
    options = case.options
    config = BoatSwinConfig(
        embed_dim=options["embed_dim"],
        depths=tuple(options["depths"]),
        heads=tuple(options["num_heads"]),
        image_size=(options["img_size"], options["img_size"]),
        num_classes=options["num_classes"],
        mlp_ratio=options["mlp_ratio"],
    )
    return BoatSwinTransformer(config)


def boat_cswin(case: Case) -> nn.Module:
    options = case.options
    config = BoatCSwinConfig(
        embed_dim=options["embed_dim"],
        depths=tuple(options["depth"]),
        heads=tuple(options["num_heads"]),
        image_size=(options["img_size"], options["img_size"]),
        num_classes=options["num_classes"],
        mlp_ratio=options["mlp_ratio"],
    )
    return BoatCSwinTransformer(config)


def stages_of_boat_swin(model: Any, images: Tensor) -> tuple[Tensor, ...]:
    x, maps = model.patch_embed(images), []
    for stage in model.layers:
        x = stage(x)
        maps.append(x.flatten(1, 2))
    return tuple(maps)


def mv_swin_t(case: Case) -> nn.Module:
    options = case.options
    config = MvSwinConfig(
        embed_dim=options["embed_dim"],
        depths=tuple(options["depths"]),
        heads=tuple(options["num_heads"]),
        window=options["window_size"],
        image_size=(options["img_size"], options["img_size"]),
        num_classes=options["num_classes"],
        mlp_ratio=options["mlp_ratio"],
        mixed_stages=tuple(options["diff_attn_layers"]),
    )
    return MvSwinTransformer(config)


def nb_net(case: Case) -> nn.Module:
    config = nbnet.infer(case.state)
    assert (config.width, config.depth, config.skip_width) == tuple(case.options[n] for n in ("wf", "depth", "mid_c"))
    return nbnet.NbNet(config.at(tuple(case.meta["input_shape"][2:])))


BUILD: dict[str, Callable[[Case], nn.Module]] = {
    "cbam_basic": resnet,
    "cbam_bottleneck": resnet,
    "cbam_cifar": resnet,
    "gam_a": gam,
    "gam_a_plain": gam,
    "gam_b": gam,
    "gam_c": gam,
    "boat_swin": boat_swin,
    "boat_swin_3": boat_swin,
    "boat_cswin": boat_cswin,
    "mv_swin_t": mv_swin_t,
    "nbnet": nb_net,
    "nbnet_d3": nb_net,
}
OUTPUT = {
    **dict.fromkeys([name for name in BUILD if name.startswith("gam")], "output"),
    # upstream's arithmetic in float64: in float32 its inverse is off by up to 3e-4 of the deviation
    **dict.fromkeys(["nbnet", "nbnet_d3"], "output_exact"),
}
"""Names of stored outputs that are not logits."""
FEATURES: dict[str, Callable[[Any, Tensor], tuple[Tensor, ...]]] = {
    "resnet_cbam": lambda model, x: model.features(x),
    "boat_swin": stages_of_boat_swin,
    "boat_cswin": lambda model, x: tuple(map_.flatten(1, 2) for map_ in model.maps(x)),
}
"""The maps of upstream's stages, in upstream's layout."""


def load(name: str) -> tuple[Case, nn.Module]:
    golden = case(name)
    model = BUILD[name](golden).eval()
    model.load_state_dict(golden.state, strict=True)
    return golden, model


def fused(model: nn.Module) -> nn.Module:
    """The inference form, of a block that replaces itself too: the root of a module cannot."""
    return inference_form(nn.ModuleList([model]))[0]


def error(found: Tensor, expected: np.ndarray[Any, Any]) -> float:
    difference = found.double().numpy() - expected.astype(np.float64)
    return float(np.abs(difference).max() / expected.astype(np.float64).std())


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("form", ["trained", "inference"])
def test_output_is_upstreams(name: str, form: str) -> None:
    golden, model = load(name)
    model = model if form == "trained" else fused(model)
    with torch.inference_mode():
        found = model(*golden.inputs.values())
    assert error(found, golden.outputs[OUTPUT.get(name, "logits")]) <= (AMPLIFIED if name == "mv_swin_t" else TOLERANCE)


@pytest.mark.parametrize("name", BUILD)
def test_a_float64_run_is_within_upstreams_own_noise(name: str) -> None:
    golden, model = load(name)
    with torch.inference_mode():
        found = model.double()(*(image.double() for image in golden.inputs.values()))
    expected = golden.outputs[OUTPUT.get(name, "logits")].astype(np.float64)
    noise = golden.meta["noise_f32_vs_f64"] if not name.startswith("nbnet") else 0.0  # that is the inverse's, not ours
    if name == "mv_swin_t":  # whose noise is that of probabilities
        found, expected = found.sigmoid(), golden.outputs["probabilities"].astype(np.float64)
    assert np.abs(found.numpy() - expected).max() <= 1.01 * noise + 2e-7  # exact but for another float64 order


@pytest.mark.parametrize("name", [name for name in BUILD if not name.startswith(("gam", "mv", "nbnet"))])
def test_features_are_upstreams(name: str) -> None:
    golden, model = load(name)
    with torch.inference_mode():
        features = FEATURES[golden.meta["architecture"]](model, golden.inputs["input"])
    stored = [golden.outputs[f"feature.stage{n}"] for n in range(1, len(features) + 1)]
    assert max(error(found, expected) for found, expected in zip(features, stored, strict=True)) <= TOLERANCE


@pytest.mark.parametrize("name", ["nbnet", "nbnet_d3"])
def test_upstreams_own_inverse_is_farther_from_the_truth_than_this_projection(name: str) -> None:
    golden, model = load(name)
    with torch.inference_mode():
        found = model(golden.inputs["input"])
    exact, upstream = golden.outputs["output_exact"], torch.from_numpy(golden.outputs["output"])
    assert 2 * error(found, exact) < error(upstream, exact)
    assert error(found, golden.outputs["output"]) <= 1.1 * error(upstream, exact) + TOLERANCE


def test_features_of_two_views_are_upstreams_up_to_what_rounding_makes_of_them() -> None:
    golden, model = load("mv_swin_t")
    rounded, exact = (views_of(each, golden.inputs) for each in (model, copy.deepcopy(model).double()))
    for name, found in exact.items():
        noise = error(rounded[name], found.numpy())  # 1e-5 to 1e-4: cosines times 100 amplify rounding, upstream's too
        assert error(found, golden.outputs[f"feature.{name}"]) <= NOISE_MULTIPLE * noise
        assert noise <= 2 * AMPLIFIED


def views_of(model: Any, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    with torch.inference_mode():
        views = model.views(*(image.to(model.head.weight.dtype) for image in inputs.values()))
        fused = model.fuse_views(*views[-1])
    maps = {f"stage{n}.view{k}": map_ for n, both in enumerate(views, 1) for k, map_ in enumerate(both, 1)}
    return {name: map_.flatten(1, 2) for name, map_ in {**maps, "fused": fused}.items()}


def test_a_sigmoid_makes_upstreams_probabilities() -> None:
    golden, model = load("mv_swin_t")
    with torch.inference_mode():
        found = model(*golden.inputs.values()).sigmoid().numpy()
    assert np.abs(found - golden.outputs["probabilities"]).max() <= NOISE_MULTIPLE * golden.meta["noise_f32_vs_f64"]


@pytest.mark.parametrize("name", ["boat_swin", "boat_swin_3", "boat_cswin"])
@pytest.mark.parametrize("form", ["trained", "inference"])
def test_tokens_are_ordered_as_upstream_orders_them(name: str, form: str) -> None:
    golden, model = load(name)
    model = model if form == "trained" else inference_form(model)
    with torch.inference_mode(), recorded(model) as found:
        model(golden.inputs["input"])
    stored = {key.removeprefix("order."): value for key, value in golden.outputs.items() if key.startswith("order.")}
    compared = {name for name in stored if f"{name}.bisection" in found}  # stage 4 of BOAT-CSwin sorts nothing
    assert len(compared) >= 2
    for attention_name in compared:
        orders, _ = found[f"{attention_name}.bisection"]
        assert np.array_equal(orders[-1].numpy(), stored[attention_name])


@pytest.mark.parametrize(("name", "other"), [("gam_a", "a_plain"), ("gam_a_plain", "a")])
def test_the_wrong_dialect_loads_and_computes_something_else(name: str, other: str) -> None:
    golden, _ = load(name)
    wrong = attention(golden.options["in_channels"], golden.options["rate"], other).eval()
    wrong.load_state_dict(golden.state, strict=True)  # the same keys and shapes: nothing in the file tells
    with torch.inference_mode():
        assert error(wrong(golden.inputs["input"]), golden.outputs["output"]) > 1  # whole standard deviations away
