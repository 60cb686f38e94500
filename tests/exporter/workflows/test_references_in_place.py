"""A trap of which no exporter warns: DAT's reference points, made in place on a view as upstream does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import slide_export
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import ParityError
from slide_export.inference.fuse import fuse
from slide_export.models import dat
from slide_export.models.config_tree import write_config
from slide_export.models.dat_config import DatConfig
from slide_export.models.deformable_attention import (
    DeformableAttention,
    DeformableShape,
    FusedDeformableAttention,
    references,
)
from tests.conftest import randomise

ROUNDING = 1e-6  # float32, values up to 1
SMALL = DatConfig(
    dims=(8, 16, 32, 64),
    blocks=("L", "L", "D", "D"),
    heads=(1, 2, 4, 4),
    plus_plus=False,
    groups=(1, 1, 2, 2),
    strides=(1, 1, 1, 1),
    offset_factors=(2.0,) * 4,
    windows=(4, 4, 7, 7),
    image_size=(64, 64),
    num_classes=10,
)


def references_in_place(shape: DeformableShape, device: torch.device) -> Tensor:
    """Make reference points [S, 2] as upstream's `_get_ref_points` does: each axis scaled in place, on a view."""
    (rows, cols), less = shape.grid, 1 if shape.plus_plus else 0
    ticks = (torch.linspace(0.5, side - 0.5, side, device=device) for side in (rows, cols))
    points = torch.stack(torch.meshgrid(*ticks, indexing="ij"), dim=-1)
    points[..., 1].div_(cols - less).mul_(2).sub_(1)
    points[..., 0].div_(rows - less).mul_(2).sub_(1)
    return points.reshape(-1, 2)


class InPlace(FusedDeformableAttention):
    def forward(self, x: Tensor) -> Tensor:
        self._buffers["references"] = references_in_place(self.shape, x.device)
        return super().forward(x)


class Planted(DeformableAttention):
    def fuse(self) -> InPlace:
        return InPlace(self)


def checkpoint(path: Path, config: DatConfig) -> Path:
    torch.manual_seed(0)
    torch.save({"model": randomise(dat.Dat(config)).state_dict(), "config": write_config(config, "dat")}, path)
    return path


@pytest.fixture(params=[SMALL, replace(SMALL, plus_plus=True, offset_factors=(-1.0,) * 4)], ids=["dat", "dat_pp"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "small.pth", request.param)


def test_in_python_they_are_the_same_points() -> None:
    for config in (SMALL, replace(SMALL, plus_plus=True)):
        shape = config.deformable(2)
        assert (references_in_place(shape, torch.device("cpu")) - references(shape)).abs().max() < ROUNDING


def test_the_proof_finds_references_made_in_place(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dat, "DeformableAttention", Planted)
    model, images = load_checkpoint(small), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():  # not even a test of the fused model in PyTorch could tell
        assert (fuse(model).module(images) - model.module(images)).abs().max() < ROUNDING
    with pytest.raises(ParityError):
        slide_export.export(small, "onnx", out=tmp_path, image_count=2)


def test_constant_references_are_proved(small: Path, tmp_path: Path) -> None:
    assert slide_export.export(small, "onnx", out=tmp_path, image_count=2).manifest.parity.passed
