"""Every small upstream model, reproduced from its own weights: stage features and logits."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from slide_export.models.swin import SwinConfig, SwinTransformer

GOLDEN = Path(__file__).parent / "golden"
CASES = json.loads((GOLDEN / "cases.json").read_text())
TOLERANCE = 1e-5  # the goal; upstream and we both compute in float32, with sums in another order


def build(name: str) -> tuple[SwinTransformer, dict[str, torch.Tensor]]:
    case, tensors = CASES[name]["config"], load_file(GOLDEN / f"{name}.safetensors")
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
    model = SwinTransformer(config).eval()
    model.load_state_dict({key[6:]: value for key, value in tensors.items() if key.startswith("state.")}, strict=True)
    return model, tensors


@pytest.mark.parametrize("name", CASES)
def test_logits_match_upstream(name: str) -> None:
    model, tensors = build(name)
    with torch.inference_mode():
        logits = model(tensors["input"])
    assert (logits - tensors["logits"]).abs().max() <= TOLERANCE


@pytest.mark.parametrize("name", CASES)
def test_stage_features_match_upstream(name: str) -> None:
    model, tensors = build(name)
    stages = [key for key in tensors if key.startswith("feature.stage")]
    with torch.inference_mode():
        x, features = model.patch_embed(tensors["input"]), {}
        for number, stage in enumerate(model.layers, start=1):
            x = stage(x)
            features[f"feature.stage{number}"] = x.flatten(1, 2)
    assert stages
    worst = max(float((features[key] - tensors[key]).abs().max() / tensors[key].abs().max()) for key in stages)
    assert worst <= TOLERANCE
