"""The interface around a model."""

import numpy as np
import torch
from torch import nn

from slide_export.core.artifact import ModelIO
from slide_export.inference.export_wrapper import ExportWrapper
from slide_export.models import DataConfig

DATA = DataConfig(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))


class Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


def test_embedded_preprocessing_is_the_formula() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    (out,) = ExportWrapper(Mean(), DATA, ModelIO(embed_preprocessing=True))(torch.from_numpy(pictures))
    expected = ((pictures / 255 - DATA.mean) / DATA.std).mean(axis=(1, 2))
    assert np.abs(out.numpy() - expected).max() < 1e-6


def test_softmax_sums_to_one() -> None:
    (out,) = ExportWrapper(Mean(), DATA, ModelIO(softmax=True))(torch.randn(2, 3, 4, 4))
    assert torch.allclose(out.sum(dim=1), torch.ones(2))


def test_plain_adds_nothing() -> None:
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(ExportWrapper(Mean(), DATA, ModelIO())(x)[0], x.mean(dim=(2, 3)))
