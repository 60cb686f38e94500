"""Counts against published ones."""

from dataclasses import replace

import pytest
import torch

from slide_export.checkpoint.inspect import count_macs, inspect_model
from slide_export.core.model import Model
from slide_export.models import family_of

PUBLISHED = 0.01  # G; the counts below are rounded to two digits


@pytest.mark.parametrize(("name", "trained"), [("slide_swin_tiny", 4.83), ("swin_tiny", 4.49)])
def test_macs_are_the_known_ones(name: str, trained: float) -> None:
    with torch.device("meta"):
        module = family_of(name).build(family_of(name).variants[name])
    assert count_macs(module, (224, 224)) / 1e9 == pytest.approx(trained, abs=PUBLISHED)


def test_window_7_fits_the_published_flops() -> None:
    config = replace(family_of("slide_swin_tiny").variants["slide_swin_tiny"], window=(7, 7))
    with torch.device("meta"):
        module = family_of("slide_swin_tiny").build(config)
    assert count_macs(module, (224, 224)) / 1e9 == pytest.approx(4.55 + 0.145, abs=PUBLISHED)  # 0.145: the second path


def test_inspection_tells_sizes_and_drift(model: Model) -> None:
    found = inspect_model(model)
    assert found.parameters == sum(value.numel() for value in model.module.parameters())
    assert found.fused_macs < found.macs
    assert list(found.drift.values()) == [0.0, 0.0, 0.0]
    assert found.config["slide_stages"] == 2
