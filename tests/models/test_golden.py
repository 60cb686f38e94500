"""Every small upstream model, reproduced from its own weights: stage features and logits."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slide_export.models.cswin import CSwinConfig, CSwinTransformer
from slide_export.models.nat import Nat, NatConfig
from slide_export.models.pvt import PvtConfig, PyramidVisionTransformer
from slide_export.models.pvt_v2 import PvtV2Config, PyramidVisionTransformerV2
from slide_export.models.swin import SwinConfig, SwinTransformer
from tests.models.golden_recipe import Case, case

GOLDEN = Path(__file__).parent / "golden"
NAMES = tuple(json.loads((GOLDEN / "cases.json").read_text()))
TOLERANCE = 1e-5  # the goal; upstream and we both compute in float32, with sums in another order


def swin(case: dict[str, Any]) -> SwinTransformer:
    side = case["img_size"]
    config = SwinConfig(
        embed_dim=case["embed_dim"],
        depths=tuple(case["depths"]),
        heads=tuple(case["num_heads"]),
        window=(case["window_size"], case["window_size"]),
        image_size=(side, side),
        num_classes=case["num_classes"],
        slide_stages=case.get("num_slide_stages", 0),
        kernel_size=case.get("ka", 3),
    )
    return SwinTransformer(config)


def cswin(case: dict[str, Any]) -> CSwinTransformer:
    side = case["img_size"]
    sizes = [side // (4 << stage) for stage in range(4)]
    single = [size == stripe for size, stripe in zip(sizes, case["split_size"], strict=True)]
    config = CSwinConfig(
        embed_dim=case["embed_dim"],
        depths=tuple(case["depth"]),
        heads=tuple(case["num_heads"]),
        stripes=tuple(0 if one else stripe for one, stripe in zip(single, case["split_size"], strict=True)),
        image_size=(side, side),
        num_classes=case["num_classes"],
        mlp_ratio=case["mlp_ratio"],
    )
    return CSwinTransformer(config)


def nat(case: dict[str, Any]) -> Nat:
    config = NatConfig(
        embed_dim=case["embed_dim"],
        depths=tuple(case["depths"]),
        heads=tuple(case["num_heads"]),
        mlp_ratio=case["mlp_ratio"],
        layer_scale=case.get("layer_scale"),
        kernel_size=case["kernel_size"],
        image_size=(case["img_size"], case["img_size"]),
        num_classes=case["num_classes"],
    )
    return Nat(config)


def pyramid(case: dict[str, Any]) -> dict[str, Any]:
    return {
        "embed_dims": tuple(case["embed_dims"]),
        "depths": tuple(case["depths"]),
        "heads": tuple(case["num_heads"]),
        "mlp_ratios": tuple(case["mlp_ratios"]),
        "reductions": tuple(case["sr_ratios"]),
        "image_size": (case["img_size"], case["img_size"]),
        "num_classes": case["num_classes"],
    }


def pvt(case: dict[str, Any]) -> PyramidVisionTransformer:
    return PyramidVisionTransformer(PvtConfig(**pyramid(case)))


def pvt_v2(case: dict[str, Any]) -> PyramidVisionTransformerV2:
    return PyramidVisionTransformerV2(PvtV2Config(**pyramid(case), linear=case.get("linear", False)))


def swin_stages(model: SwinTransformer, images: Tensor) -> Iterator[Tensor]:
    x = model.patch_embed(images)
    for stage in model.layers:
        x = stage(x)
        yield x.flatten(1, 2)


def cswin_stages(model: CSwinTransformer, images: Tensor) -> Iterator[Tensor]:
    return (x.flatten(1, 2) for x in model.maps(images))


def nat_stages(model: Nat, images: Tensor) -> Iterator[Tensor]:
    return (
        x if level.downsample is None else level.downsample(x)
        for level, x in zip(model.levels, model.maps(images), strict=True)
    )


def pvt_stages(model: PyramidVisionTransformer, images: Tensor) -> Iterator[Tensor]:
    return (x.flatten(1, 2) for x in model.maps(images, class_token=True))


def pvt_v2_stages(model: PyramidVisionTransformerV2, images: Tensor) -> Iterator[Tensor]:
    return (x.flatten(1, 2) for x in model.maps(images))


ARCHITECTURES: dict[str, tuple[Callable[..., nn.Module], Callable[..., Iterator[Tensor]]]] = {
    "slide_swin": (swin, swin_stages),
    "swin": (swin, swin_stages),
    "cswin": (cswin, cswin_stages),
    "nat": (nat, nat_stages),
    "pvt": (pvt, pvt_stages),
    "pvt_v2": (pvt_v2, pvt_v2_stages),
}
"""How upstream's options make our model, and the output of each of upstream's stages."""


def build(name: str) -> tuple[nn.Module, Case]:
    golden = case(name, GOLDEN)
    make, _ = ARCHITECTURES[golden.meta["architecture"]]
    model = make(golden.meta["config"]).eval()
    model.load_state_dict(golden.state, strict=True)
    return model, golden


@pytest.mark.parametrize("name", NAMES)
def test_logits_match_upstream(name: str) -> None:
    model, golden = build(name)
    with torch.inference_mode():
        logits = model(golden.inputs["input"])
    assert (logits - torch.from_numpy(golden.outputs["logits"])).abs().max() <= TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_stage_features_match_upstream(name: str) -> None:
    model, golden = build(name)
    _, outputs = ARCHITECTURES[golden.meta["architecture"]]
    with torch.inference_mode():
        features = list(outputs(model, golden.inputs["input"]))
    kept = sorted(key for key in golden.outputs if key.startswith("feature.stage"))  # the last, small ones
    stored = [torch.from_numpy(golden.outputs[key]) for key in kept]
    assert stored
    pairs = zip(features[-len(stored) :], stored, strict=True)
    worst = max(float((ours - theirs).abs().max() / theirs.abs().max()) for ours, theirs in pairs)
    assert worst <= TOLERANCE
