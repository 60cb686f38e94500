"""Upstream's order of operations computes the same, so that its time is the time of the same function."""

import torch

from slide_export.core.model import Model
from tests.benchmarks.upstream_order import in_upstream_order

ROUNDING = 2e-5


def test_upstream_order_is_the_same_function(model: Model) -> None:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert (in_upstream_order(model.module)(images) - model.module(images)).abs().max() < ROUNDING
