"""Every family keeps its word: built, recognised by itself alone and resized by its own functions."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from slide_export.models import FAMILIES, Family, State, family_of
from tests.exporter.workflows.test_every_family import SMALL

STAGES = ((0,), (3,), (1, 2), (0, 1, 2, 3))
TOLD = {"gam": ("dialect",)}
"""Fields that no key tells."""
FLAG = {"slide_cswin_tiny": "lepe", "slide_pvt_tiny": "class_token", "slide_pvt_v2_b1": "linear"}
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "slide_swin_tiny": [{"slide_stages": count, "window": (7, 7), "kernel_size": 5} for count in (1, 3, 4)],
    "slide_nat_mini": [{"slide_stages": at, "slide_kernel": 5, "layer_scale": 0.1} for at in STAGES],
    **{
        name: [{"slide_stages": at, "kernel_size": 5, flag: on} for at in STAGES for on in (False, True)]
        for name, flag in FLAG.items()
    },
}


def recognised(state: State) -> list[str]:
    return [family.name for family in FAMILIES if family.matches(state)]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_each_variant_is_recognised_from_its_own_state_dict(family: Family) -> None:
    for config in family.variants.values():
        with torch.device("meta"):
            state = family.build(config).state_dict()
        assert recognised(state) == [family.name]
        inferred = family.infer(state, **{field: getattr(config, field) for field in TOLD.get(family.name, ())})
        assert family.resize(inferred, config).at(inferred.image_size) == inferred  # no shape tells a CSwin's input


@pytest.mark.parametrize(("variant", "options"), [(name, options) for name in OPTIONS for options in OPTIONS[name]])
def test_one_family_recognises_each_option_of_a_slide_form(variant: str, options: dict[str, Any]) -> None:
    family = family_of(variant)
    with torch.device("meta"):
        model = family.build(replace(family.variants[variant], depths=(1, 1, 1, 1), **options))
    assert recognised(model.state_dict()) == [family.name]


def test_each_slide_form_has_options_here() -> None:
    assert {family_of(name).name for name in OPTIONS} == {f.name for f in FAMILIES if f.name.startswith("slide_")}


def test_a_small_model_of_each_family_is_exported() -> None:
    elsewhere = {"slide_swin", "swin"}  # tests/conftest.py has both kinds of block; alone, swin is in test_full_size.py
    assert {family.name for family in FAMILIES} == SMALL.keys() | elsewhere
    assert not SMALL.keys() & elsewhere
