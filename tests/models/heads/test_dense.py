"""Every backbone with every head: recognised by itself alone, told by its shapes, equal to itself when fused."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from slide_export.inference.fuse import inference_form
from slide_export.models import COMPARISON, DENSE, FAMILIES, Family
from slide_export.models.dense import maps_of
from tests.conftest import randomise
from tests.exporter.workflows.test_every_family import SMALL

FOLDED = 1e-4
"""Largest difference of fused from trained over the deviation, in float32: sums in another order."""
NAMES = {family.name: family for family in DENSE}
SIZE = (60, 92)  # no multiple of 32: maps of 15x23, 8x12, 4x6, 2x3 in most backbones


@pytest.mark.parametrize("family", DENSE, ids=lambda family: family.name)
def test_the_smallest_variant_is_told_by_its_own_state_dict(family: Family) -> None:
    config = next(iter(family.variants.values()))
    with torch.device("meta"):
        state = family.build(config).state_dict()
    assert [one.name for one in (*COMPARISON, *FAMILIES, *DENSE) if one.matches(state)] == [family.name]
    assert family.infer(state) == config


def small(name: str, **options: Any) -> Any:
    """A small configuration of a backbone's with a head, on maps that windows, stripes and strides do not divide."""
    family = NAMES[name]
    kind: Any = type(next(iter(family.variants.values())))
    backbone = SMALL[family.backbone]
    head = {"head_channels": 8} | ({} if name.endswith("upernet") else {"neck_channels": 8})
    own = {"image_size": SIZE, "num_classes": 5, **options}
    if family.backbone.endswith("cswin"):
        own |= {"padded_stripes": True, "stripes": (1, 2, 7, 0)}
    return kind(**{**vars(backbone), **head, **own})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cswin_upernet", {"feature_norms": (0, 1, 2, 3)}),
        ("nat_upernet", {"feature_norms": (0, 1, 2, 3), "align_corners": True}),
        ("slide_nat_semantic_fpn", {"norm_groups": 4}),
        ("slide_cswin_semantic_fpn", {"align_corners": True}),
        ("pvt_v2_retinanet", {"tower": 1}),
    ],
)
def test_a_fused_model_computes_the_same(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = randomise(NAMES[name].build(small(name, **options))).eval()
    images = torch.randn(2, 3, *SIZE)
    with torch.inference_mode():
        trained, fused = model(images), inference_form(model)(images)
    pairs = zip(*(tensors(found) for found in (trained, fused)), strict=True)
    assert all((a - b).abs().max() <= FOLDED * a.std() for a, b in pairs)


def tensors(found: Any) -> list[torch.Tensor]:
    return [found] if isinstance(found, torch.Tensor) else [tensor for part in found for tensor in part]


def test_a_norm_of_a_map_is_no_part_of_the_next_stage() -> None:
    torch.manual_seed(0)
    model = randomise(NAMES["nat_upernet"].build(small("nat_upernet", feature_norms=(0, 1, 2, 3)))).eval()
    images = torch.randn(1, 3, *SIZE)
    with torch.inference_mode():
        before = model.features(images)
        model.backbone.norm0.weight.mul_(2)
        after = model.features(images)
    assert not torch.equal(before[0], after[0])
    assert all(torch.equal(a, b) for a, b in zip(before[1:], after[1:], strict=True))


def test_another_input_keeps_windows_and_moves_the_pooling() -> None:
    family = NAMES["swin_upernet"]
    config = replace(family.variants["swin_tiny_upernet"], embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2))
    larger = config.at((512, 384))
    assert type(larger) is type(config)
    assert larger.window == config.window
    assert maps_of(larger).sizes[-1] == (16, 12)
